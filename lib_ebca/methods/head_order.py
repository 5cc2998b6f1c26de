"""The order in which head relevance vectors count the heads of a UNet: down, middle, up, each layer's heads in turn.

This is the order in which the layers run. diffusers' own lists of them (`attn_processors`) have the middle last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_DIFFUSERS = re.compile(
    r"(down_blocks|mid_block|up_blocks)\.(?:(\d+)\.)?attentions\.(\d+)\.transformer_blocks\.(\d+)\.attn2"
)
_LDM = re.compile(r"(input_blocks|middle_block|output_blocks)\.(\d+)\.(?:(\d+)\.)?transformer_blocks\.(\d+)\.attn2")
_PLACES = ("down", "mid", "up")
_PARTS = {
    "down_blocks": 0, "mid_block": 1, "up_blocks": 2, "input_blocks": 0, "middle_block": 1, "output_blocks": 2,
}  # fmt: skip

SD1 = (8,) * 16
"""Heads of each layer of SD 1, in this order."""
SDXL = (10,) * 4 + (20,) * 20 + (20,) * 10 + (20,) * 30 + (10,) * 6
"""Heads of each layer of SDXL, in this order."""


def position(module: str) -> tuple[int, int, int, int]:
    """Where a cross-attention layer stands, by its module's name in diffusers or in ldm: sorts in the order above.

    Raises:
        ValueError: it is not the name of a cross-attention layer of a UNet of Stable Diffusion.
    """
    found = _DIFFUSERS.fullmatch(module) or _LDM.fullmatch(module)
    if found is None:
        raise ValueError(
            f"{module!r} is no cross-attention layer of a Stable Diffusion UNet: it should be named like "
            "down_blocks.0.attentions.0.transformer_blocks.0.attn2 or input_blocks.1.1.transformer_blocks.0.attn2"
        )
    part, block, attention, transformer = found.groups()
    return _PARTS[part], int(block or 0), int(attention or 0), int(transformer)


def columns(heads: Mapping[str, int]) -> dict[str, slice]:
    """The columns of each layer's heads.

    Args:
        heads: the number of heads of each layer, by its module's name, in any order.

    Raises:
        ValueError: a name is not that of a cross-attention layer.
    """
    found, first = {}, 0
    for name in sorted(heads, key=position):
        found[name] = slice(first, first + heads[name])
        first += heads[name]
    return found


def labels(heads: Mapping[str, int]) -> list[str]:
    """The published label of every column: "down, layer: 0, head: 0".

    Raises:
        ValueError: a name is not that of a cross-attention layer.
    """
    written, seen = [], [0, 0, 0]
    for name in sorted(heads, key=position):
        place = position(name)[0]
        written += [f"{_PLACES[place]}, layer: {seen[place]}, head: {head}" for head in range(heads[name])]
        seen[place] += 1
    return written


def known_layout(heads: Sequence[int]) -> str | None:
    """The family whose layers have these numbers of heads, "sd1" or "sdxl", for which vectors are published."""
    return {SD1: "sd1", SDXL: "sdxl"}.get(tuple(heads))
