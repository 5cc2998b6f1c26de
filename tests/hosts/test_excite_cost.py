"""The arithmetic of an altered step of SD 1 at 64 x 64 latents, counted without computing anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.attention.watcher import EnoughRead, Watcher
from lib_ebca.hosts.unet import installed, levels_of


@pytest.fixture(scope="module")
def unet() -> Any:
    """SD 1's shape, without weights."""
    with torch.device("meta"):
        return UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64).eval()


def counted(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def evaluated(unet: Any, sample: Tensor) -> Tensor:
    with torch.device("meta"):
        context = torch.empty(sample.shape[0], 77, 768)
        result: Tensor = unet(sample, torch.empty(sample.shape[0]), context).sample
    return result


def excited(unet: Any) -> None:
    """One gradient of ours: frozen weights, one row, up to the last layer that is read."""
    unet.requires_grad_(False)
    levels = levels_of(unet)
    watcher = Watcher((16, 16), max(index for index, level in enumerate(levels) if level == 2))
    cascade = Cascade([Picture()], [Timetable((Values(),))], recorder=watcher)
    cascade.begin(Rows.plain(1), (64, 64))
    # What the counter hooks into may not be the leaf itself: the network gets it times 1.
    leaf = torch.empty(1, 4, 64, 64, device="meta", requires_grad=True)
    with installed(unet, lambda: cascade, lambda sentence: None), pytest.raises(EnoughRead):
        evaluated(unet, leaf * 1)
    torch.autograd.grad(watcher.mean.sum(), leaf)


def published(unet: Any) -> None:
    """One gradient as published: weights that ask for gradients, and a whole evaluation of one row."""
    unet.requires_grad_(True)
    # What the counter hooks into may not be the leaf itself: the network gets it times 1.
    leaf = torch.empty(1, 4, 64, 64, device="meta", requires_grad=True)
    kept: list[Tensor] = []
    hooks = [
        module.to_q.register_forward_hook(lambda layer, given, output: kept.append(output))
        for name, module in unet.named_modules()
        if name.endswith("attn2") and ("down_blocks.2" in name or "up_blocks.1" in name)
    ]
    evaluated(unet, leaf * 1)
    for hook in hooks:
        hook.remove()
    torch.autograd.grad(torch.stack([each.sum() for each in kept]).sum(), leaf)
    unet.requires_grad_(False)


def test_the_arithmetic_of_a_step(unet: Any) -> None:
    with torch.no_grad():
        guided = counted(lambda: evaluated(unet, torch.empty(2, 4, 64, 64, device="meta")))
    ours, theirs = counted(lambda: excited(unet)), counted(lambda: published(unet))
    row = guided / 2
    # In forwards of one row: about half of one, and as much back; published, a whole one and half of it back.
    assert ours / row < 1.1
    assert theirs / row > 1.4
    # 50 steps of which 25 are altered, without refinement.
    assert (50 * guided + 25 * ours) / (50 * guided) < 1.28
