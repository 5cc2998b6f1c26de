"""What is really in a picture of the embedded model's world, read by rule, not by a network.

Backgrounds are neutral and objects are not, so an object is a connected patch of chroma. Its hue names the colour, the
likeness (Tanimoto index) of its silhouette to templates names the shape, and the light and dark inside and around it
the style. Deterministic; torch only. Its own accuracy is measured by `accuracy` and belongs next to every result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from .render import CHECK_CELL, render
from .scenes import (
    COLOURS,
    PALETTE,
    PATTERNS,
    SHAPES,
    SIZE,
    STYLES,
    TONE_LEVEL,
    TONES,
    Scene,
    SceneBatch,
    SceneObject,
)

CHROMA = 0.12
EDGE = 0.25
MIN_AREA = 24
MAX_PATCHES = 8
MIX_SHARE = 0.2
LIKENESS = 0.72
GRID, GRID_REACH = 24, 2.1
CHUNK = 128
TEMPLATE_RADII = (10.0, 14.0, 19.0)
TEMPLATE_TILTS = (-15.0, -10.0, -5.0, 0.0, 5.0, 10.0, 15.0)


@dataclass(frozen=True)
class Sighting:
    """One object seen. `shape` is None if it is like none of the shapes; `likeness` in [0, 1]; centre in pixels."""

    colour: str
    shape: str | None
    style: str
    likeness: float
    x: float
    y: float
    area: int


@dataclass(frozen=True)
class Reading:
    """What is in a picture: the objects, largest first, and the background (None if there is too little of it)."""

    objects: tuple[Sighting, ...]
    tone: str | None
    pattern: str | None


def read(pictures: Tensor) -> list[Reading]:
    """What is in each of the pictures: (B, 3, H, W) in [0, 1], any square size; they are read at 64 x 64."""
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"pictures: expected (B, 3, H, W), got {tuple(pictures.shape)}")
    pictures = pictures.detach().float().clamp(0, 1)
    if pictures.shape[-2:] != (SIZE, SIZE):
        pictures = functional.interpolate(pictures, size=(SIZE, SIZE), mode="area")
    return [reading for chunk in pictures.split(CHUNK) for reading in _read_chunk(chunk)]


def _read_chunk(pictures: Tensor) -> list[Reading]:
    chroma = pictures.amax(1) - pictures.amin(1)
    labels = _components(chroma > CHROMA)
    owner, mask, colour = _patches(pictures, chroma, labels)
    empty = ~functional.max_pool2d((labels > 0).float()[:, None], 7, stride=1, padding=3)[:, 0].bool()
    level = pictures.mean(1)
    tones, patterns, tone_level = _backgrounds(level, empty)
    found: list[list[Sighting]] = [[] for _ in pictures]
    if len(owner):
        likeness, shape = _shapes(mask)
        style = _styles(pictures[owner], level[owner], mask, colour, tone_level[owner])
        area = mask.sum((1, 2))
        axis = torch.arange(SIZE, device=mask.device) + 0.5
        x, y = (mask.sum(1) * axis).sum(1) / area, (mask.sum(2) * axis).sum(1) / area
        columns = (owner, colour, shape, style, likeness, x, y, area)
        for o, c, s, st, like, cx, cy, a in zip(*(column.tolist() for column in columns), strict=True):
            name = SHAPES[s] if like >= LIKENESS else None
            found[o].append(Sighting(COLOURS[c], name, STYLES[st], round(like, 4), cx, cy, int(a)))
    return [
        Reading(tuple(sorted(objects, key=lambda o: -o.area)), tone, pattern)
        for objects, tone, pattern in zip(found, tones, patterns, strict=True)
    ]


def _components(mask: Tensor) -> Tensor:
    """(B, H, W) labels of the 8-connected components of a mask: 0 outside, else the largest pixel number inside."""
    pixels = mask.shape[1] * mask.shape[2]
    # Pixel numbers up to 2 ** 24 are exact in float32.
    number = torch.arange(1, pixels + 1, device=mask.device, dtype=torch.float32).view(1, *mask.shape[1:])
    labels = number * mask
    while True:
        spread = labels
        for _ in range(8):
            spread = functional.max_pool2d(spread[:, None], 3, stride=1, padding=1)[:, 0] * mask
        if torch.equal(spread, labels):
            return labels.long()
        labels = spread


@lru_cache(maxsize=4)
def _hues(device: str) -> Tensor:
    return _hue(torch.tensor([PALETTE[c] for c in COLOURS], device=device)[:, :, None, None])[:, 0, 0]


def _hue(pictures: Tensor) -> Tensor:
    """Hue angle (B, H, W) in radians; mixing with any neutral leaves it as it is."""
    red, green, blue = pictures.unbind(1)
    return torch.atan2(math.sqrt(3) * (green - blue), 2 * red - green - blue)


def _patches(pictures: Tensor, chroma: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The patches of all pictures: which picture (M,), mask (M, H, W) and colour (M,).

    A component with two hues, each a fair part of it, is two objects that touch, and is cut between them.
    """
    batch, height, width = labels.shape
    device = labels.device
    cell = labels + torch.arange(batch, device=device)[:, None, None] * (height * width + 1)
    inside = labels > 0
    names, index = torch.unique(cell[inside], return_inverse=True)
    hues = _hues(str(device))
    turn = _hue(pictures)[inside][:, None] - hues
    away = torch.atan2(turn.sin(), turn.cos()).abs()
    weight = chroma[inside]
    votes = torch.zeros(len(names), len(COLOURS), device=device)
    votes.index_put_((index, away.argmin(1)), weight, accumulate=True)
    kept = votes >= MIX_SHARE * votes.sum(1, keepdim=True)
    colour = away.masked_fill(~kept[index], math.inf).argmin(1)

    patch_names, patch_index = torch.unique(index * len(COLOURS) + colour, return_inverse=True)
    strongest = torch.zeros(len(patch_names), device=device).scatter_reduce(0, patch_index, weight, "amax")
    solid = weight > EDGE * strongest[patch_index]
    area = torch.zeros(len(patch_names), device=device).index_add(0, patch_index, solid.float())
    owner = names[patch_names // len(COLOURS)] // (height * width + 1)

    # The largest few of each picture are kept: order by picture, then by area, and cut each run.
    order = torch.argsort(owner * (height * width + 1) + (height * width - area.long()))
    order = order[area[order] >= MIN_AREA]
    owners = owner[order]
    rank = torch.arange(len(order), device=device) - torch.searchsorted(owners.contiguous(), owners)
    order = order[rank < MAX_PATCHES]
    place = torch.full((len(patch_names),), -1, device=device)
    place[order] = torch.arange(len(order), device=device)

    mask = torch.zeros(len(order), height * width, device=device)
    pixel = torch.arange(height * width, device=device).view(1, height, width).expand(batch, -1, -1)[inside]
    target = place[patch_index]
    valid = (target >= 0) & solid
    mask[target[valid], pixel[valid]] = 1.0
    return owner[order], mask.view(-1, height, width), (patch_names % len(COLOURS))[order]


def _normalised(mask: Tensor) -> Tensor:
    """Silhouettes (M, GRID * GRID) centred on their centroid and scaled to the same area."""
    area = mask.sum((1, 2))
    axis = torch.arange(SIZE, device=mask.device) + 0.5
    x, y = (mask.sum(1) * axis).sum(1) / area, (mask.sum(2) * axis).sum(1) / area
    reach = GRID_REACH * (area / math.pi).sqrt()
    steps = torch.linspace(-1, 1, GRID, device=mask.device)
    gx = (x[:, None] + reach[:, None] * steps) / (SIZE / 2) - 1
    gy = (y[:, None] + reach[:, None] * steps) / (SIZE / 2) - 1
    grid = torch.stack([gx[:, None, :].expand(-1, GRID, -1), gy[:, :, None].expand(-1, -1, GRID)], -1)
    return functional.grid_sample(mask[:, None], grid, align_corners=False)[:, 0].flatten(1)


@lru_cache(maxsize=4)
def _templates(device: str) -> tuple[Tensor, Tensor]:
    """Normalised silhouettes (T, GRID * GRID) of all shapes at several sizes and tilts, and their shapes (T,)."""
    scenes = [
        Scene((SceneObject(shape, "blue", radius=radius, tilt=math.radians(tilt)),), "white")
        for shape in SHAPES
        for radius in TEMPLATE_RADII
        for tilt in TEMPLATE_TILTS
    ]
    pictures = render(SceneBatch.from_scenes(scenes))
    chroma = pictures.amax(1) - pictures.amin(1)
    mask = (chroma > EDGE * chroma.amax((1, 2), keepdim=True)).float()
    kinds = torch.arange(len(SHAPES)).repeat_interleave(len(TEMPLATE_RADII) * len(TEMPLATE_TILTS))
    return _normalised(mask).to(device), kinds.to(device)


def _shapes(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Best likeness (M,) in [0, 1] and its shape (M,)."""
    templates, kinds = _templates(str(mask.device))
    patches = _normalised(mask)
    shared = patches @ templates.T
    likeness = shared / (patches.square().sum(1)[:, None] + templates.square().sum(1) - shared)
    best, which = likeness.max(1)
    return best, kinds[which]


def _styles(pictures: Tensor, level: Tensor, mask: Tensor, colour: Tensor, behind: Tensor) -> Tensor:
    """Style (M,) of patches: dark bands, pale dots, or a contour that is neither object nor background."""
    paint = torch.tensor([PALETTE[c] for c in COLOURS], device=mask.device)[colour]
    top, low = pictures.amax(1), pictures.amin(1)
    saturation = (top - low) / top.clamp(min=1e-3)
    full = paint.amax(1)
    rich = (1 - paint.amin(1) / full)[:, None, None]
    inner = -functional.max_pool2d(-mask[:, None], 3, stride=1, padding=1)[:, 0]
    inner = torch.where(inner.sum((1, 2), keepdim=True) >= 8, inner, mask)
    size = inner.sum((1, 2))
    dark = ((top < 0.78 * full[:, None, None]) * inner).sum((1, 2)) / size
    pale = ((saturation < 0.75 * rich) & (top > 0.8 * full[:, None, None])).float().mul(inner).sum((1, 2)) / size

    grown = functional.max_pool2d(mask[:, None], 3, stride=1, padding=1)[:, 0]
    rim = grown - mask
    contour = torch.where(behind > 0.4, 0.02, 0.98)[:, None, None]
    toward = (level - behind[:, None, None]) / (contour - behind[:, None, None])
    lined = ((toward > 0.45) * rim).sum((1, 2)) / rim.sum((1, 2)).clamp(min=1)

    style = torch.zeros_like(colour)
    style = torch.where(pale > 0.10, STYLES.index("dotted"), style)
    style = torch.where((dark > 0.18) & (dark > pale), STYLES.index("striped"), style)
    return torch.where((lined > 0.55) & (style == 0), STYLES.index("outlined"), style)


def _backgrounds(level: Tensor, empty: Tensor) -> tuple[list[str | None], list[str | None], Tensor]:
    """Tone and pattern of the pixels without objects, and their mean level (B,)."""
    weight = empty.float()
    size = weight.sum((1, 2)).clamp(min=1)
    mean = (level * weight).sum((1, 2)) / size
    axis = (torch.arange(SIZE, device=level.device) + 0.5) / (SIZE / 2) - 1
    design = torch.stack([torch.ones(SIZE, SIZE, device=level.device), *torch.meshgrid(axis, axis, indexing="xy")], -1)
    rows = design.flatten(0, 1)
    weighted = weight.flatten(1)
    normal = torch.einsum("bp,pi,pj->bij", weighted, rows, rows) + 1e-3 * torch.eye(3, device=level.device)
    plane = torch.linalg.solve(normal, torch.einsum("bp,pi,bp->bi", weighted, rows, level.flatten(1)))
    slope = plane[:, 1:].norm(dim=1)
    rest = level.flatten(1) - plane @ rows.T
    index = torch.arange(SIZE, device=level.device) // CHECK_CELL
    check = ((index[:, None] + index[None, :]) % 2 * 2 - 1).float().flatten()
    depth = (rest * check * weighted).sum(1) / size

    tones = torch.tensor([TONE_LEVEL[t] for t in TONES], device=level.device)
    tone = (plane[:, :1] - tones).abs().argmin(1)
    pattern = torch.where(slope > 0.05, PATTERNS.index("gradient"), PATTERNS.index("plain"))
    pattern = torch.where(depth > 0.025, PATTERNS.index("checkerboard"), pattern)
    known = weight.sum((1, 2)) >= 100
    triples = list(zip(known.tolist(), tone.tolist(), pattern.tolist(), strict=True))
    return [TONES[t] if k else None for k, t, _ in triples], [PATTERNS[p] if k else None for k, _, p in triples], mean
