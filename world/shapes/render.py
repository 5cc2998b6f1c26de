"""Scenes to pictures, in one batch, on any device: signed distances and analytic coverage, so edges are smooth."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from .scenes import COLOURS, PALETTE, SHAPES, SIZE, STYLES, TONE_LEVEL, TONES, SceneBatch

ATLAS_SIZE = 128
ATLAS_REACH = 1.6
RING_BAND = (0.55, 1.0)
CHECK_CELL = 8
CHECK_DEPTH = 0.07
GRADIENT_DEPTH = 0.14
STRIPE_SHADE = 0.55
DOT_TINT = 0.55


def _polygon_distance(points: Tensor, vertices: list[tuple[float, float]]) -> Tensor:
    """Signed distance (negative inside) of points (..., 2) to a closed polygon.

    Source: Inigo Quilez, "2D distance functions", sdPolygon."""
    corners = torch.tensor(vertices, dtype=points.dtype)
    squared = torch.full(points.shape[:-1], math.inf, dtype=points.dtype)
    sign = torch.ones(points.shape[:-1], dtype=points.dtype)
    for a, b in zip(corners, corners.roll(1, 0), strict=True):
        edge, away = b - a, points - a
        along = ((away @ edge) / (edge @ edge)).clamp(0, 1)
        squared = torch.minimum(squared, (away - along[..., None] * edge).square().sum(-1))
        above, below = points[..., 1] >= a[1], points[..., 1] < b[1]
        turn = edge[0] * away[..., 1] > edge[1] * away[..., 0]
        flips = (above & below & turn) | (~above & ~below & ~turn)
        sign = torch.where(flips, -sign, sign)
    return sign * squared.sqrt()


def _radial(corners: int, radii: tuple[float, ...]) -> list[tuple[float, float]]:
    """Vertices on rays from the centre, the first one pointing up."""
    angles = [2 * math.pi * i / corners for i in range(corners)]
    return [(radii[i % len(radii)] * math.sin(a), -radii[i % len(radii)] * math.cos(a)) for i, a in enumerate(angles)]


def _heart() -> list[tuple[float, float]]:
    """The usual parametric heart, scaled into the unit circle, as a fine polygon."""
    curve = []
    for i in range(96):
        t = 2 * math.pi * i / 96
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        curve.append((x / 17.0, -(y + 2.5) / 17.0))
    return curve


def _moon() -> list[tuple[float, float]]:
    """A disc with a smaller disc bitten out of its right side, as a fine polygon: the outer arc, then the bite."""
    outer, bite, offset = 0.96, 0.72, 0.49
    corner_x = (offset**2 + outer**2 - bite**2) / (2 * offset)
    corner_y = math.sqrt(outer**2 - corner_x**2)
    start, end = math.atan2(corner_y, corner_x), 2 * math.pi - math.atan2(corner_y, corner_x)
    far, near = 2 * math.pi - math.atan2(corner_y, corner_x - offset), math.atan2(corner_y, corner_x - offset)
    around = [start + (end - start) * i / 48 for i in range(48)]
    back = [far + (near - far) * i / 48 for i in range(48)]
    curve = [(outer * math.cos(a), outer * math.sin(a)) for a in around]
    curve += [(offset + bite * math.cos(a), bite * math.sin(a)) for a in back]
    lean = math.radians(-12)
    return [(x * math.cos(lean) - y * math.sin(lean), x * math.sin(lean) + y * math.cos(lean)) for x, y in curve]


def _distance(shape: str, points: Tensor) -> Tensor:
    """Signed distance of a shape of unit radius, in units of that radius; points: (..., 2), y down."""
    length = points.norm(dim=-1)
    if shape == "circle":
        return length - 0.92
    if shape == "square":
        return _polygon_distance(points, [(-0.78, -0.78), (0.78, -0.78), (0.78, 0.78), (-0.78, 0.78)])
    if shape == "triangle":
        return _polygon_distance(points + torch.tensor([0.0, -0.12]), _radial(3, (1.08,)))
    if shape == "star":
        return _polygon_distance(points, _radial(10, (1.0, 0.42)))
    if shape == "ring":
        inner, outer = RING_BAND
        return (length - (inner + outer) / 2).abs() - (outer - inner) / 2
    if shape == "cross":
        a, b = 0.30, 0.94
        outline = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a)]
        return _polygon_distance(points, [*outline, (-a, -a)])
    if shape == "heart":
        return _polygon_distance(points, _heart())
    if shape == "moon":
        return _polygon_distance(points, _moon())
    raise ValueError(f"shape: {shape!r} is not one of {', '.join(SHAPES)}")


@lru_cache(maxsize=4)
def _atlas(device: str) -> Tensor:
    """(8, 1, A, A) signed distances of all shapes over [-reach, reach] squared, in units of the radius."""
    axis = torch.linspace(-ATLAS_REACH, ATLAS_REACH, ATLAS_SIZE)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    return torch.stack([_distance(s, points) for s in SHAPES])[:, None].to(device)


@lru_cache(maxsize=4)
def _palette(device: str) -> Tensor:
    return torch.tensor([PALETTE[c] for c in COLOURS], device=device)


@lru_cache(maxsize=4)
def _tones(device: str) -> Tensor:
    return torch.tensor([TONE_LEVEL[t] for t in TONES], device=device)


def background(scenes: SceneBatch) -> Tensor:
    """(B, 64, 64) neutral levels in [0, 1] of the backgrounds alone."""
    device = scenes.count.device
    axis = torch.arange(SIZE, device=device) + 0.5
    y, x = axis[:, None], axis[None, :]
    level = _tones(str(device))[scenes.tone][:, None, None]
    cos, sin = scenes.direction.cos()[:, None, None], scenes.direction.sin()[:, None, None]
    ramp = ((x - SIZE / 2) * cos + (y - SIZE / 2) * sin) / (SIZE / 2) * GRADIENT_DEPTH
    cells = (((x // CHECK_CELL) + (y // CHECK_CELL)) % 2 * 2 - 1) * CHECK_DEPTH
    pattern = scenes.pattern[:, None, None]
    level = level + torch.where(pattern == 1, ramp, 0.0) + torch.where(pattern == 2, cells, 0.0)
    return level.clamp(0, 1)


def _coverage(distance: Tensor) -> Tensor:
    """Share of a pixel inside, from the signed distance of its centre in pixels."""
    return (0.5 - distance).clamp(0, 1)


def render(scenes: SceneBatch) -> Tensor:
    """(B, 3, 64, 64) pictures in [0, 1], float32, on the device of the scenes."""
    device = scenes.count.device
    atlas, palette = _atlas(str(device)), _palette(str(device))
    axis = torch.arange(SIZE, device=device) + 0.5
    level = background(scenes)
    picture = level[:, None].expand(-1, 3, -1, -1)
    pale = _tones(str(device))[scenes.tone] > 0.4
    contour = torch.where(pale, 0.02, 0.98)[:, None, None, None]

    for i in range(2):
        radius = scenes.radius[:, i, None, None]
        dx = axis[None, None, :] - scenes.x[:, i, None, None]
        dy = axis[None, :, None] - scenes.y[:, i, None, None]
        cos, sin = scenes.tilt[:, i, None, None].cos(), scenes.tilt[:, i, None, None].sin()
        u, v = dx * cos + dy * sin, dy * cos - dx * sin
        grid = torch.stack([u, v], -1) / (radius[..., None] * ATLAS_REACH)
        distance = functional.grid_sample(
            atlas[scenes.shape[:, i]], grid, mode="bilinear", padding_mode="border", align_corners=True
        )[:, 0]
        distance = distance * radius
        present = (scenes.count > i)[:, None, None]
        style = scenes.style[:, i, None, None]

        paint = (palette[scenes.colour[:, i]] + scenes.jitter[:, i]).clamp(0, 1)[:, :, None, None]
        striped = torch.where(style == STYLES.index("striped"), _stripes(u, v, radius), 0.0)[:, None]
        dotted = torch.where(style == STYLES.index("dotted"), _dots(u, v, radius), 0.0)[:, None]
        fill = paint * (1 - (1 - STRIPE_SHADE) * striped)
        fill = fill + (1 - fill) * DOT_TINT * dotted

        outlined = present & (style == STYLES.index("outlined"))
        stroke = torch.where(outlined, _coverage(distance - (0.13 * radius).clamp(min=1.8)), 0.0)[:, None]
        body = torch.where(present, _coverage(distance), 0.0)[:, None]
        picture = picture + (contour - picture) * stroke
        picture = picture + (fill - picture) * body
    return picture


def _stripes(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    """Share of dark stripe per pixel: diagonal, half of each period, in the object's own frame."""
    period = (0.5 * radius).clamp(min=5.5)
    phase = (u + v) / math.sqrt(2) / period
    away = ((phase - phase.floor()) - 0.5).abs() - 0.25
    return _coverage(away * period)


def _dots(u: Tensor, v: Tensor, radius: Tensor) -> Tensor:
    """Share of light dot per pixel: a square lattice in the object's own frame, one dot at its centre."""
    period = (0.55 * radius).clamp(min=6.0)
    cell = torch.stack([u, v], -1) / period[..., None]
    away = (cell - cell.round()).norm(dim=-1) * period
    return _coverage(away - 0.31 * period)
