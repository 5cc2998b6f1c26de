"""A UNet's own mask of the text, and gradients with checkpoints, under a plan."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca import Plan
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable
from lib_ebca.hosts.unet import cross_attention_layers, installed
from lib_ebca.language.directives import parse
from tests import tiny_pipe

PLANS = [parse("<bcu:0.05:0.3>").plan, parse("<bcu:0.05:0.3> <edit:dog:0.5:attn=0.02:norm=0.05>").plan]


def evaluated(unet: Any, plan: Plan, latent: Tensor, context: Tensor, backward: bool = False, **asked: Any) -> Tensor:
    edits = tuple(torch.randn(12, 32, generator=torch.Generator().manual_seed(7)) for _ in plan.edits)
    cascade = Cascade([Picture(edits)] * 2, [Timetable.of(plan, 1)] * 2, layers=len(cross_attention_layers(unet)))
    cascade.begin(Rows.plain(2), (8, 8), 0)
    with installed(unet, lambda: cascade, pytest.fail):
        output: Tensor = unet(latent, 1, context, **asked).sample
        if backward:
            output.square().sum().backward()
    return output


@pytest.mark.parametrize("plan", PLANS, ids=["update", "update and edit"])
def test_masked_tokens_are_as_if_they_were_not_there(plan: Plan) -> None:
    unet = tiny_pipe.unet()
    latent, context = torch.randn(2, 4, 8, 8), torch.randn(2, 12, 32)
    mask = torch.ones(2, 12, dtype=torch.bool)
    whole = evaluated(unet, plan, latent, context)
    assert torch.allclose(evaluated(unet, plan, latent, context, encoder_attention_mask=mask), whole, atol=1e-5)
    mask[:, 9:] = False
    masked = evaluated(unet, plan, latent, context, encoder_attention_mask=mask)
    assert torch.allclose(masked, evaluated(unet, plan, latent, context[:, :9]), atol=1e-5)
    assert not torch.allclose(masked, whole, atol=1e-3)


@pytest.mark.parametrize("plan", PLANS, ids=["update", "update and edit"])
def test_checkpoints_give_the_same_gradient(plan: Plan) -> None:
    unet = tiny_pipe.unet()
    latent, context = torch.randn(2, 4, 8, 8), torch.randn(2, 12, 32)

    def gradient() -> Tensor:
        leaf = latent.clone().requires_grad_()
        evaluated(unet, plan, leaf, context, backward=True)
        assert leaf.grad is not None
        return leaf.grad

    plain = gradient()
    unet.train()
    unet.enable_gradient_checkpointing()
    assert torch.allclose(gradient(), plain, rtol=1e-4, atol=1e-4)
