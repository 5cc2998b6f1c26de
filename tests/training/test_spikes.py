"""What counts as a spike in a decoder's maps, and that watching for it leaves nothing behind."""

from __future__ import annotations

import itertools

import pytest
import torch

from training.networks import TINY, make_vae
from training.spikes import HIGHEST, excess, spikes


def with_spike(height: float, side: int = 64) -> torch.Tensor:
    maps = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    maps[1, 2, 5, 59] = height
    return maps


def test_one_pixel_far_above_all_others_is_a_spike() -> None:
    assert excess(with_spike(10.0)) == 0
    # Alone of 64 x 64, it is as many spreads above the mean as a side has pixels.
    assert excess(with_spike(1e5)) == pytest.approx((64 / HIGHEST - 1) / 6, rel=0.01)
    stars = torch.zeros(1, 1, 128, 128)
    for row, column in itertools.product(range(3), range(3)):
        stars[0, 0, row::40, column::40] = 1
    assert excess(stars) == 0
    assert excess(with_spike(1e5).flatten(2)) == excess(with_spike(1e5))


def test_the_gradient_lowers_it() -> None:
    maps = with_spike(1e3).requires_grad_()
    (gradient,) = torch.autograd.grad(excess(maps), maps)
    assert gradient[1, 2, 5, 59] > 0 and gradient[0].abs().max() == 0


def test_a_decoder_is_watched_in_the_block_alone() -> None:
    torch.manual_seed(1)
    decoder = make_vae(TINY).decoder
    norms = [module for module in decoder.modules() if isinstance(module, torch.nn.GroupNorm)]
    with spikes(decoder) as found:
        decoder(torch.randn(1, 4, 8, 8))
    assert len(found) == len(norms) and all(value.ndim == 0 for value in found)
    assert not any(module._forward_pre_hooks for module in norms)
