"""What is behind the things: a ground and a sky, clouds, stars, or one tone."""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor

Colour = tuple[float, float, float]

PLAIN: dict[str, Colour] = {"white": (0.97, 0.97, 0.97), "gray": (0.60, 0.60, 0.60), "black": (0.07, 0.07, 0.07)}
# Above and below the horizon.
SCENERY: dict[str, tuple[Colour, Colour]] = {
    "meadow": ((0.72, 0.88, 0.98), (0.50, 0.78, 0.36)),
    "sky": ((0.42, 0.68, 0.95), (0.74, 0.89, 0.99)),
    "night": ((0.05, 0.06, 0.22), (0.14, 0.15, 0.38)),
    "sand": ((0.66, 0.88, 0.95), (0.93, 0.82, 0.58)),
}
HORIZON = (0.2, 0.5)
STARS = 7


def level_of(background: str) -> Colour:
    """The colour that things mostly stand before."""
    return PLAIN[background] if background in PLAIN else SCENERY[background][1]


def _blobs(background: str, draw: random.Random) -> list[tuple[float, ...]]:
    """Clouds or stars: x, y, half width, half height (shares of the side), and how white."""
    if background == "sky":
        sizes = [(draw.uniform(0.08, 0.17), draw.uniform(0.03, 0.06)) for _ in range(draw.randint(1, 4))]
        return [(draw.random(), draw.random(), *size, 0.85) for size in sizes]
    if background == "night":
        radii = [draw.uniform(0.012, 0.02) for _ in range(STARS)]
        return [(draw.random(), draw.random(), radius, radius, 0.9) for radius in radii]
    return []


def render_backgrounds(asked: list[tuple[str, int]], side: int) -> Tensor:
    """(B, 3, side, side) in [0, 1] for names of backgrounds and seeds."""
    ramps, rows, blobs = [], [], []
    for name, seed in asked:
        draw = random.Random(seed)
        above, below = (PLAIN[name], PLAIN[name]) if name in PLAIN else SCENERY[name]
        shade = draw.uniform(-0.025, 0.025)
        # The sky and the night have no horizon, but change all the way down.
        soft = name in ("sky", "night")
        rows.append((0.5 if soft else draw.uniform(*HORIZON), 1.0 if soft else 60.0))
        ramps.append([[c + shade for c in above], [c + shade for c in below]])
        blobs.append(_blobs(name, draw))
    axis = (torch.arange(side) + 0.5) / side
    ends, line = torch.tensor(ramps), torch.tensor(rows)
    share = (0.5 + line[:, 1:] * (axis - line[:, :1])).clamp(0, 1)[:, None, :, None]
    picture = ends[:, 0, :, None, None] * (1 - share) + ends[:, 1, :, None, None] * share
    picture = picture.expand(-1, -1, -1, side).clone()
    lively = [row for row, found in enumerate(blobs) if found]
    for row in lively:
        for x, y, wide, high, white in blobs[row]:
            _lighten(picture[row], x * side, y * side, wide * side, high * side, white)
    return picture.clamp(0, 1)


def _lighten(picture: Tensor, x: float, y: float, wide: float, high: float, white: float) -> None:
    """Lay a white ellipse with a soft edge over one picture (3, side, side), in place; all in pixels."""
    side = picture.shape[-1]
    left, right = max(0, math.floor(x - 1.2 * wide)), min(side, math.ceil(x + 1.2 * wide))
    top, bottom = max(0, math.floor(y - 1.2 * high)), min(side, math.ceil(y + 1.2 * high))
    across = (torch.arange(left, right) + 0.5 - x) / wide
    down = (torch.arange(top, bottom) + 0.5 - y) / high
    cover = white * ((1.2 - across.square() - down.square()[:, None]) * 3).clamp(0, 1)
    part = picture[:, top:bottom, left:right]
    part += (1 - part) * cover
