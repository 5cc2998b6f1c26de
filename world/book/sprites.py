"""The things as sprites: read from the sheets, recoloured, and measured for placing one on the other."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from .vocabulary import COLOURS, NOUNS, PALETTE, STYLES

SHEETS = Path(__file__).parent / "sheets"
SPRITE, INNER = 80, 72
COLUMNS = 13
# A sticker's white border, in pixels of the sprite.
BORDER = 3
# How far a recoloured thing's lights go to white and its darks to black.
LIGHT, DARK = 0.45, 0.6
LUMINANCE = (0.299, 0.587, 0.114)
# The colour number of a thing as it is; the others are COLOURS.index(colour) + 1.
OWN = 0

Array = NDArray[np.float32]


@lru_cache(maxsize=1)
def read_sheets() -> Array:
    """(styles, nouns, SPRITE, SPRITE, 4) straight RGBA in [0, 1]: things in their own colours.

    Raises FileNotFoundError if a sheet is not there."""
    sprites = []
    for style in STYLES:
        sheet = np.asarray(Image.open(SHEETS / f"{style.replace(' ', '-')}.webp").convert("RGBA"))
        tiles = sheet.reshape(-1, SPRITE, COLUMNS, SPRITE, 4).swapaxes(1, 2).reshape(-1, SPRITE, SPRITE, 4)
        sprites.append(tiles[: len(NOUNS)])
    return np.asarray(np.stack(sprites) / 255, np.float32)


def recolour(sprites: Array, colour: str, ink: bool = False) -> Array:
    """Sprites (n, s, s, 4) in a colour of the palette: its hue throughout, lights and darks about the palette's own.

    `ink`: line art, whose ink alone takes the colour."""
    paint = np.array(PALETTE[colour], np.float32)
    light = sprites[..., :3] @ np.array(LUMINANCE, np.float32)
    if ink:
        share = light[..., None]
        return np.concatenate([share + (1 - share) * paint, sprites[..., 3:]], -1)
    weight = sprites[..., 3]
    total = weight.sum((1, 2), keepdims=True)
    mean = (weight * light).sum((1, 2), keepdims=True) / total
    spread = np.sqrt((weight * (light - mean) ** 2).sum((1, 2), keepdims=True) / total)
    shade = np.clip((light - mean) / (2 * spread + 0.05), -1, 1)[..., None]
    painted = np.where(shade > 0, paint + LIGHT * shade * (1 - paint), paint * (1 + DARK * shade))
    return np.concatenate([painted, sprites[..., 3:]], -1)


def with_border(sprites: Array) -> Array:
    """Sprites (n, s, s, 4) cut out of white paper."""
    alpha = torch.from_numpy(sprites[..., 3])
    cut = functional.max_pool2d(alpha[:, None], 2 * BORDER + 1, stride=1, padding=BORDER)
    paper = functional.avg_pool2d(cut, 3, stride=1, padding=1)[:, 0].numpy()
    over = sprites[..., 3:]
    outer = np.maximum(paper, sprites[..., 3])[..., None]
    mixed = (sprites[..., :3] * over + (outer - over)) / np.maximum(outer, 1e-6)
    return np.concatenate([mixed, outer], -1).astype(np.float32)


@lru_cache(maxsize=1)
def atlas() -> Tensor:
    """(styles, nouns, 1 + colours, 4, SPRITE, SPRITE) uint8, premultiplied RGBA."""
    own = read_sheets()
    styles = []
    for style, sprites in zip(STYLES, own, strict=True):
        line = style == "line drawing"
        versions = [sprites, *(recolour(sprites, colour, line) for colour in COLOURS)]
        if style == "sticker":
            versions = [with_border(v) for v in versions]
        stacked = np.stack(versions, 1)
        stacked[..., :3] *= stacked[..., 3:]
        styles.append(np.round(stacked.clip(0, 1) * 255).astype(np.uint8).transpose(0, 1, 4, 2, 3))
    return torch.from_numpy(np.stack(styles))


@lru_cache(maxsize=1)
def mean_colours() -> Array:
    """(styles, nouns, 1 + colours, 3) the mean colour of what covers the background."""
    sums = atlas().float().sum((-1, -2)).numpy()
    return np.asarray(sums[..., :3] / sums[..., 3:], np.float32)


@lru_cache(maxsize=1)
def heads() -> Array:
    """(styles, nouns, 2) the middle of the top of each thing, as shares of the sprite from its left and top."""
    alpha = read_sheets()[..., 3]
    tops = np.zeros((*alpha.shape[:2], 2), np.float32)
    for index in np.ndindex(*alpha.shape[:2]):
        rows = np.flatnonzero(alpha[index].sum(1) > 2)
        band = alpha[index][rows[0] : rows[0] + (rows[-1] - rows[0]) // 4 + 1].sum(0)
        middle = float((band * np.arange(SPRITE)).sum() / band.sum())
        tops[index] = (middle + 0.5) / SPRITE, rows[0] / SPRITE
    return tops
