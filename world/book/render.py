"""Scenes of the book world to pictures, and where in them each thing is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .backgrounds import render_backgrounds
from .scenes import SIZE, Scene, Thing
from .sprites import atlas
from .vocabulary import NOUNS, STYLES


@dataclass(frozen=True)
class Drawn:
    """`pictures` (B, 3, SIZE, SIZE) in [0, 1], and `cover` (B, 2, SIZE, SIZE), how much of a pixel shows each thing."""

    pictures: Tensor
    cover: Tensor

    def regions(self) -> Tensor:
        """(B, 3, SIZE, SIZE): the first thing, the second, and what is behind both."""
        return torch.cat([self.cover, 1 - self.cover.sum(1, keepdim=True)], 1)


# A thing is drawn in a window this much wider than its sprite, for it may be tilted.
WINDOW = 1.16


def _window(thing: Thing) -> tuple[int, int, int]:
    """Left, top and side of the window of whole pixels that holds a thing; it may reach over the picture's edges."""
    side = math.ceil(WINDOW * thing.size) + 1
    return math.floor(thing.x - side / 2), math.floor(thing.y - side / 2), side


def draw_thing(thing: Thing, style: str) -> tuple[Tensor, slice, slice]:
    """Premultiplied RGBA (4, h, w) of a thing, and the rows and columns of the picture that it belongs to."""
    left, top, side = _window(thing)
    scale = side / thing.size
    cos, sin = math.cos(thing.tilt) * scale, math.sin(thing.tilt) * scale
    x, y = (2 * (thing.x - left) / side - 1), (2 * (thing.y - top) / side - 1)
    turn = [[cos, sin, -cos * x - sin * y], [-sin, cos, sin * x - cos * y]]
    if thing.mirrored:
        turn[0] = [-v for v in turn[0]]
    sprite = atlas()[STYLES.index(style), NOUNS.index(thing.noun), thing.colour_number].float()[None] / 255
    grid = functional.affine_grid(torch.tensor([turn]), [1, 4, side, side], align_corners=False)
    layer = functional.grid_sample(sprite, grid, align_corners=False)[0]
    rows, columns = slice(max(0, top), min(SIZE, top + side)), slice(max(0, left), min(SIZE, left + side))
    return layer[:, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left], rows, columns


def render(scenes: list[Scene]) -> Drawn:
    """The pictures of scenes, on the CPU."""
    pictures = render_backgrounds([(scene.background, scene.seed) for scene in scenes], SIZE)
    cover = torch.zeros(len(scenes), 2, SIZE, SIZE)
    for row, scene in enumerate(scenes):
        for place, thing in enumerate(scene.things):
            layer, rows, columns = draw_thing(thing, scene.style)
            over = layer[3:]
            part = pictures[row, :, rows, columns]
            part.mul_(1 - over).add_(layer[:3])
            cover[row, :, rows, columns] *= 1 - over
            cover[row, place, rows, columns] += over[0]
    return Drawn(pictures.clamp_(0, 1), cover)
