"""Gradients through a network that is written for inference: its weights are in no graph, its sums in place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lib_ebca.hosts.forge_gradients import differentiable
from tests.hosts import tiny_forge, tiny_ldm
from tests.hosts.forge_linears import Linear


def gradient(unet: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(1, 4, 10, 6, generator=generator).requires_grad_(True)
    context = torch.randn(1, 7, tiny_ldm.CONTEXT, generator=generator)
    output = unet(sample, torch.full((1,), 20.0), context=context, transformer_options={})
    (found,) = torch.autograd.grad(output.square().sum(), sample)
    return found


def test_the_gradient_is_that_of_ldm_s_network_and_the_weights_are_the_objects_that_they_were() -> None:
    ldm = tiny_ldm.unet()
    sample = torch.randn(1, 4, 10, 6, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    generator = torch.Generator().manual_seed(1)
    torch.randn(1, 4, 10, 6, generator=generator)
    context = torch.randn(1, 7, tiny_ldm.CONTEXT, generator=generator)
    output = ldm(sample, torch.full((1,), 20.0), context)
    (wanted,) = torch.autograd.grad(output.square().sum(), sample)
    with torch.inference_mode():
        unet = tiny_forge.unet()
    before = [*unet.parameters()]
    with differentiable(unet):
        found = gradient(unet)
        assert [weight.data_ptr() for weight in unet.parameters()] == [weight.data_ptr() for weight in before]
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
    assert all(a is b for a, b in zip(before, unet.parameters(), strict=True))
    assert not any(module._forward_pre_hooks for module in unet.modules())


def test_without_it_there_is_no_gradient() -> None:
    with torch.inference_mode():
        unet = tiny_forge.unet()
    with pytest.raises(RuntimeError):
        gradient(unet)


class Merging(Linear):
    """Makes its weight in inference mode at each call, as a network that is added on the fly does."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            weight = self.weight + 0.01 * self.weight.flip(0)
        return nn.functional.linear(x, weight, self.bias)


def test_weights_that_are_made_in_inference_mode_at_each_call() -> None:
    unet = tiny_forge.unet(linear=Merging)
    with differentiable(unet):
        found = gradient(unet)
    assert found.isfinite().all() and found.abs().max() > 0
