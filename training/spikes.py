"""Spikes in a decoder: one place of a map so loud that the normalisation after it makes all the rest quiet.

Where each channel is normalised by itself (32 groups of one channel), a decoder cannot say how loud a channel is as a
whole, but by a spike far above everything else, whose height sets the scale. It shows as a faint spot in the picture.
Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, on its droplets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

# How far a map's largest value may lie from its mean, in standard deviations; a star in the night sky has some 20, one
# pixel alone of 64 x 64 has 64.
HIGHEST = 24.0
SMALLEST = 1e-5


def excess(maps: Tensor) -> Tensor:
    """By how much the largest values of maps (B, C, ...) exceed HIGHEST, as a share of it; the mean over B and C."""
    values = maps.float().flatten(2)
    centred = values - values.mean(2, keepdim=True)
    crest = centred.abs().amax(2) / (centred.square().mean(2).sqrt() + SMALLEST)
    return (crest / HIGHEST - 1).relu().mean()


@contextmanager
def spikes(decoder: nn.Module) -> Iterator[list[Tensor]]:
    """In the block, the excess of what enters each normalisation of `decoder` is appended to the list."""
    found: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, entering: found.append(excess(entering[0])))
        for module in decoder.modules()
        if isinstance(module, nn.GroupNorm)
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
