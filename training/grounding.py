"""Words learn where they belong: cross-attention is told which object, or the background, each word of a caption names.

A picture with two objects teaches a small network only slowly that "red" and "circle" go together, and the word for a
background hardly at all, for the noise mostly shows what the word would tell. The scenes are drawn by code, so the
answer is known: at each place of a map, attention to the words of what is there should outweigh attention to the words
of what is elsewhere. Source: Wang et al., "TokenCompose: Text-to-Image Diffusion with Token-level Supervision", 2024.
"""

from __future__ import annotations

import math

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional

# A word belongs to one of these, or to NOBODY: an opening, an article, what joins two objects.
OWNERS = FIRST_OBJECT, SECOND_OBJECT, BEHIND = range(3)
NOBODY = -1
SMALLEST = 1e-6


class PlainAttention:
    """Attention spelt out, which keeps the map of its last call over words until it is taken."""

    def __init__(self) -> None:
        self._map: Tensor | None = None

    def take(self) -> Tensor:
        """The map (B, places, words) of the last call, averaged over the heads; it is forgotten here.

        Raises RuntimeError where none was kept."""
        if self._map is None:
            raise RuntimeError("no map was kept since the last one was taken")
        map, self._map = self._map, None
        return map

    def __call__(
        self,
        attention: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """The output (B, places, channels) of an attention layer without masks, norms or residuals of its own."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            x.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for x in (attention.to_q(hidden_states), attention.to_k(context), attention.to_v(context))
        )
        weights = (attention.scale * query @ key.transpose(-1, -2)).softmax(-1)
        self._map = None if encoder_hidden_states is None else weights.mean(1)
        mixed = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        return attention.to_out[1](attention.to_out[0](mixed))


def watch(unet: UNet2DConditionModel) -> list[PlainAttention]:
    """Spell out every attention of `unet`; returns those whose maps are over words."""
    processors = {name: PlainAttention() for name in unet.attn_processors}
    unet.set_attn_processor(dict(processors))
    return [processor for name, processor in processors.items() if "attn2" in name]


def grounding_loss(map: Tensor, owners: Tensor, regions: Tensor) -> Tensor:
    """How far one map is from giving each place to the words of what is there.

    map: (B, places, T) attention over words; owners: (B, T) in OWNERS or NOBODY; regions: (B, 3, H, W).
    The cross-entropy of attention, among the words that anybody owns, to an even share for each word of the owner of a
    place; averaged over an owner's region, then over the owners that are there and named. A scalar.
    """
    side = math.isqrt(map.shape[1])
    area = functional.adaptive_avg_pool2d(regions, side).flatten(2)
    belongs = torch.stack([owners == owner for owner in OWNERS], 1).to(map.dtype)
    named = belongs.sum(2)
    owned = (owners != NOBODY).to(map.dtype)[:, None]
    chosen = (map + SMALLEST).log() - ((map + SMALLEST) * owned).sum(2, keepdim=True).clamp(min=SMALLEST).log()
    missed = -torch.einsum("blt,bkt->bkl", chosen, belongs / named.clamp(min=1)[..., None])
    there = ((named > 0) & (area.sum(2) > 0)).to(map.dtype)
    per_owner = (area * missed).sum(2) / area.sum(2).clamp(min=SMALLEST)
    return (there * per_owner).sum() / there.sum().clamp(min=1)
