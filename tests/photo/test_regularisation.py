"""The closed-form gradients against autograd on the losses as published, and what the regularisation brings about."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.photo.regularisation import Regularisation, auto_correlation_gradient, kl_gradient, regularised


def auto_correlation(noise: Tensor, shifts: Tensor) -> Tensor:
    """The loss as pix2pix-zero writes it."""
    loss = noise.new_zeros(())
    for picture, own in zip(noise, shifts, strict=True):
        for channel, amounts in zip(picture, own, strict=True):
            level = channel[None, None]
            for amount in amounts.tolist():
                loss = loss + (level * torch.roll(level, amount, 2)).mean() ** 2
                loss = loss + (level * torch.roll(level, amount, 3)).mean() ** 2
                level = F.avg_pool2d(level, 2) if min(level.shape[-2:]) > 1 else level
    return loss


def noise_of(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [(16, 16), (32, 20), (17, 33)])
def test_auto_correlation_gradient_is_the_loss_s(size: tuple[int, int]) -> None:
    noise = noise_of(2, 4, *size).requires_grad_()
    shifts = torch.randint(4, (2, 4, 2), generator=torch.Generator().manual_seed(1))
    (wanted,) = torch.autograd.grad(auto_correlation(noise, shifts), noise)
    assert torch.allclose(auto_correlation_gradient(noise.detach(), shifts), wanted, rtol=0, atol=1e-15)


def test_kl_gradient_is_the_loss_s_picture_by_picture() -> None:
    noise = (1.5 * noise_of(2, 4, 8, 8) + 0.3).requires_grad_()
    loss = noise.new_zeros(())
    for picture in noise:
        loss = loss + picture.var() + picture.mean() ** 2 - 1 - torch.log(picture.var() + 1e-7)
    (wanted,) = torch.autograd.grad(loss, noise)
    assert torch.allclose(kl_gradient(noise.detach()), wanted, rtol=0, atol=1e-15)


def test_a_picture_does_not_depend_on_its_neighbours() -> None:
    noise = noise_of(3, 4, 16, 16)

    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in seeds]

    together = regularised(noise, Regularisation(), generators(5, 6, 7))
    alone = regularised(noise[1:2], Regularisation(), generators(6))
    assert torch.allclose(together[1:2], alone, rtol=0, atol=1e-12)
    assert not torch.allclose(together[1:2], regularised(noise[1:2], Regularisation(), generators(7)), atol=1e-6)


def test_it_brings_noise_nearer_to_white() -> None:
    blurred = F.avg_pool2d(noise_of(1, 4, 34, 34), 3, stride=1)
    shifts = torch.ones(1, 4, 3, dtype=torch.long)
    after = regularised(blurred, Regularisation(rounds=20, kl=0), [torch.Generator().manual_seed(0)])
    assert auto_correlation(after, shifts) < 0.9 * auto_correlation(blurred, shifts)
    kl_only = regularised(3 * blurred, Regularisation(rounds=200, auto_correlation=0), [torch.Generator()])
    assert abs(float(kl_only.var()) - 1) < abs(float((3 * blurred).var()) - 1)


def test_very_small_pictures_do_not_run_away() -> None:
    for scale in (1e-3, 1.0, 30.0):
        noise = scale * noise_of(1, 4, 8, 8)
        after = regularised(noise, Regularisation(rounds=20), [torch.Generator().manual_seed(0)])
        assert 0.3 < float(after.std()) < 3


def test_without_rounds_the_noise_stays() -> None:
    noise = noise_of(1, 4, 1, 1)
    assert torch.equal(regularised(noise, Regularisation(rounds=0), [torch.Generator()]), noise)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 130)])
def test_any_size(size: tuple[int, int]) -> None:
    noise = noise_of(1, 4, *size)
    settings = Regularisation(rounds=1, kl=0 if size == (1, 1) else 20)
    assert torch.isfinite(regularised(noise, settings, [torch.Generator()])).all()
