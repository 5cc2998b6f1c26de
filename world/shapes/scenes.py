"""What a picture can hold: shapes, colours, styles and backgrounds, and how scenes are drawn at random.

A scene is one or two objects that do not overlap, on a neutral background. Everything is in pixels of a 64 x 64
picture, x to the right and y down. Scenes are sampled as batches of tensors on the device that draws them, because a
GPU learns faster than any loop over scenes can run.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

SIZE = 64
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart", "moon")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
STYLES = ("plain", "striped", "dotted", "outlined")
TONES = ("white", "light", "gray", "dark", "black")
PATTERNS = ("plain", "gradient", "checkerboard")
RELATIONS = ("left of", "right of", "above", "below")

PALETTE = {
    "red": (0.90, 0.08, 0.10),
    "orange": (1.00, 0.52, 0.05),
    "yellow": (0.97, 0.90, 0.10),
    "green": (0.12, 0.68, 0.20),
    "cyan": (0.08, 0.80, 0.86),
    "blue": (0.10, 0.25, 0.92),
    "purple": (0.52, 0.14, 0.80),
    "pink": (1.00, 0.42, 0.72),
}
TONE_LEVEL = {"white": 0.96, "light": 0.76, "gray": 0.52, "dark": 0.27, "black": 0.06}

SINGLE_RADIUS = (11.0, 20.0)
DOUBLE_RADIUS = (11.0, 14.0)
GAP = 4.0
MARGIN = 1.5
MAX_TILT = math.radians(12)
DOUBLE_SHARE = 0.5
PLAIN_OBJECT_SHARE = 0.75
PLAIN_BACKGROUND_SHARE = 0.75
PLACEMENT_TRIALS = 12
RELATION_CLARITY = 1.3


@dataclass(frozen=True)
class SceneObject:
    """One object: what it is, its style, its centre and radius in pixels and its tilt in radians."""

    shape: str
    colour: str
    style: str = "plain"
    x: float = SIZE / 2
    y: float = SIZE / 2
    radius: float = 16.0
    tilt: float = 0.0

    def __post_init__(self) -> None:
        for value, allowed, field in (
            (self.shape, SHAPES, "shape"),
            (self.colour, COLOURS, "colour"),
            (self.style, STYLES, "style"),
        ):
            if value not in allowed:
                raise ValueError(f"{field}: {value!r} is not one of {', '.join(allowed)}")


@dataclass(frozen=True)
class Scene:
    """One or two objects on a background; `direction` is the angle of a gradient in radians."""

    objects: tuple[SceneObject, ...]
    tone: str = "gray"
    pattern: str = "plain"
    direction: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.objects) <= 2:
            raise ValueError(f"objects: a scene holds one or two, not {len(self.objects)}")
        if self.tone not in TONES:
            raise ValueError(f"tone: {self.tone!r} is not one of {', '.join(TONES)}")
        if self.pattern not in PATTERNS:
            raise ValueError(f"pattern: {self.pattern!r} is not one of {', '.join(PATTERNS)}")


@dataclass(frozen=True)
class SceneBatch:
    """B scenes as tensors on one device. Per object (B, 2): shape, colour, style, x, y, radius, tilt, and the colour
    jitter (B, 2, 3); per scene (B,): count, tone, pattern, direction. The second object counts only where count is 2.
    """

    count: Tensor
    shape: Tensor
    colour: Tensor
    style: Tensor
    x: Tensor
    y: Tensor
    radius: Tensor
    tilt: Tensor
    jitter: Tensor
    tone: Tensor
    pattern: Tensor
    direction: Tensor

    def __len__(self) -> int:
        return self.count.shape[0]

    def __getitem__(self, rows: Tensor | slice) -> SceneBatch:
        return SceneBatch(**{f.name: getattr(self, f.name)[rows] for f in dataclasses.fields(self)})

    def to(self, device: torch.device | str) -> SceneBatch:
        return SceneBatch(**{f.name: getattr(self, f.name).to(device) for f in dataclasses.fields(self)})

    def scene(self, row: int) -> Scene:
        """The scene of one row, in words."""
        objects = tuple(
            SceneObject(
                SHAPES[int(self.shape[row, i])],
                COLOURS[int(self.colour[row, i])],
                STYLES[int(self.style[row, i])],
                float(self.x[row, i]),
                float(self.y[row, i]),
                float(self.radius[row, i]),
                float(self.tilt[row, i]),
            )
            for i in range(int(self.count[row]))
        )
        tone, pattern = TONES[int(self.tone[row])], PATTERNS[int(self.pattern[row])]
        return Scene(objects, tone, pattern, float(self.direction[row]))

    @staticmethod
    def from_scenes(scenes: list[Scene]) -> SceneBatch:
        """The tensors of a list of scenes, without colour jitter."""
        pairs = [(s.objects[0], s.objects[-1]) for s in scenes]

        def per_object(read: str, vocabulary: tuple[str, ...] | None = None) -> Tensor:
            rows = [[getattr(o, read) for o in pair] for pair in pairs]
            if vocabulary is not None:
                return torch.tensor([[vocabulary.index(v) for v in row] for row in rows])
            return torch.tensor(rows, dtype=torch.float32)

        return SceneBatch(
            count=torch.tensor([len(s.objects) for s in scenes]),
            shape=per_object("shape", SHAPES),
            colour=per_object("colour", COLOURS),
            style=per_object("style", STYLES),
            x=per_object("x"),
            y=per_object("y"),
            radius=per_object("radius"),
            tilt=per_object("tilt"),
            jitter=torch.zeros(len(scenes), 2, 3),
            tone=torch.tensor([TONES.index(s.tone) for s in scenes]),
            pattern=torch.tensor([PATTERNS.index(s.pattern) for s in scenes]),
            direction=torch.tensor([s.direction for s in scenes], dtype=torch.float32),
        )


def pair_held_out(colour: int, shape: int) -> bool:
    """True for the eight colour-shape pairs that training never shows; each colour and each shape loses one."""
    return shape == (3 * colour + 1) % 8


def combination_held_out(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """True for the tenth or so of (colour, shape) pairs of pairs that training never shows, whatever their order."""
    (c1, s1), (c2, s2) = first, second
    return (5 * (c1 + c2) + 3 * (s1 + s2) + c1 * c2 + s1 * s2) % 10 == 3


@lru_cache(maxsize=1)
def training_pairs() -> tuple[tuple[int, int], ...]:
    """The (colour, shape) index pairs that training may show."""
    return tuple(p for p in itertools.product(range(8), range(8)) if not pair_held_out(*p))


@lru_cache(maxsize=1)
def training_combinations() -> tuple[tuple[int, int, int, int], ...]:
    """The (colour, shape, colour, shape) rows that training may show; the two shapes always differ."""
    pairs = itertools.product(training_pairs(), training_pairs())
    return tuple((*a, *b) for a, b in pairs if a[1] != b[1] and not combination_held_out(a, b))


@lru_cache(maxsize=4)
def _tables(device: str) -> tuple[Tensor, Tensor]:
    return torch.tensor(training_pairs(), device=device), torch.tensor(training_combinations(), device=device)


def held_out_combinations() -> tuple[tuple[int, int, int, int], ...]:
    """Rows like `training_combinations`, of two pairs each seen in training but never seen together."""
    pairs = itertools.product(training_pairs(), training_pairs())
    return tuple((*a, *b) for a, b in pairs if a[1] != b[1] and combination_held_out(a, b))


def relation_of(x: Tensor, y: Tensor) -> Tensor:
    """The index in RELATIONS of the first object seen from the second, -1 where it is not clear. x, y: (B, 2)."""
    dx, dy = x[:, 0] - x[:, 1], y[:, 0] - y[:, 1]
    horizontal = torch.where(dx < 0, 0, 1)
    vertical = torch.where(dy < 0, 2, 3)
    unclear = torch.full_like(horizontal, -1)
    relation = torch.where(dx.abs() >= RELATION_CLARITY * dy.abs(), horizontal, unclear)
    return torch.where(dy.abs() >= RELATION_CLARITY * dx.abs(), vertical, relation)


def sample_scenes(
    batch: int, generator: torch.Generator, device: torch.device | str = "cpu", double_share: float = DOUBLE_SHARE
) -> SceneBatch:
    """`batch` random scenes without the held-out pairs and combinations; `generator` lives on `device`."""

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, device=device)

    def index(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator, device=device)

    double = uniform(batch) < double_share
    pairs, combinations = _tables(str(device))
    singles, doubles = pairs[index(len(pairs), batch)], combinations[index(len(combinations), batch)]
    what = torch.where(double[:, None], doubles, torch.cat([singles, singles], 1))

    single_radius = uniform(batch, 1, low=SINGLE_RADIUS[0], high=SINGLE_RADIUS[1]).expand(batch, 2)
    double_radius = uniform(batch, 2, low=DOUBLE_RADIUS[0], high=DOUBLE_RADIUS[1])
    radius = torch.where(double[:, None], double_radius, single_radius)
    x, y = _place(radius, double, uniform(batch, PLACEMENT_TRIALS, 2, 2))

    return SceneBatch(
        count=1 + double.long(),
        shape=what[:, 1::2],
        colour=what[:, 0::2],
        style=_choose(uniform(batch, 2), PLAIN_OBJECT_SHARE, len(STYLES)),
        x=x,
        y=y,
        radius=radius,
        tilt=uniform(batch, 2, low=-MAX_TILT, high=MAX_TILT),
        jitter=uniform(batch, 2, 3, low=-0.03, high=0.03),
        tone=index(len(TONES), batch),
        pattern=_choose(uniform(batch), PLAIN_BACKGROUND_SHARE, len(PATTERNS)),
        direction=uniform(batch, low=0.0, high=2 * math.pi),
    )


def _choose(draw: Tensor, first_share: float, choices: int) -> Tensor:
    """Index 0 with probability `first_share`, the others in equal parts of the rest, from uniform draws."""
    rest = 1 + ((draw - first_share) / (1 - first_share) * (choices - 1)).long().clamp(0, choices - 2)
    return torch.where(draw < first_share, 0, rest)


def _place(radius: Tensor, double: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Centres (B, 2) inside the picture, far enough apart; draws: (B, trials, object, coordinate) uniform."""
    low = (radius + MARGIN)[:, None, :, None]
    centre = low + draws * (SIZE - 2 * low)
    distance = (centre[:, :, 0] - centre[:, :, 1]).norm(dim=-1)
    good = distance >= radius.sum(1, keepdim=True) + GAP
    chosen = good.float().argmax(1)
    picked = centre[torch.arange(len(radius), device=radius.device), chosen]
    # Side by side always fits, and is taken where no trial did.
    side = torch.stack([radius[:, 0] + MARGIN, SIZE - radius[:, 1] - MARGIN], 1)
    x = torch.where((double & ~good.any(1))[:, None], side, picked[..., 0])
    return x, picked[..., 1]
