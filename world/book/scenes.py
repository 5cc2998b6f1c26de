"""What a picture of the book world holds, and how such scenes are drawn at random."""

from __future__ import annotations

import math
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from .backgrounds import level_of
from .contents import WHOLE, Contents
from .sprites import OWN, heads, mean_colours
from .vocabulary import ANIMALS, BACKGROUNDS, COLOURS, FACES, NOUNS, OBJECTS, STYLES, WORN

SIZE = 128
WEARER_SIZE = (74.0, 100.0)
# What is worn, as a share of the wearer's side.
WORN_SHARE = {"hat": 0.5, "crown": 0.45, "bow": 0.4, "glasses": 0.55}
# Where the eyes are, from the top of a thing, as a share of the wearer's side.
EYES_OF_FACE, EYES_OF_BODY = 0.4, 0.13
# Things fill their sprites to this share, as discs.
FILLED = 0.45
MARGIN = 2.0
DOUBLE_SHARE = 0.5
WORN_PAIRS = 0.14
BACKGROUND_SHARES = (0.16, 0.16, 0.12, 0.12, 0.2, 0.14, 0.1)
TOO_NEAR = 0.22
RELATION_CLARITY = 1.3
PLACEMENT_TRIALS = 20
HELD_OUT_PAIRS = 16


@dataclass(frozen=True)
class Thing:
    """One thing: its noun, its colour (None: its own), centre and side in pixels, tilt in radians, mirrored or not.

    Raises ValueError for a noun or a colour that there is not."""

    noun: str
    colour: str | None = None
    x: float = SIZE / 2
    y: float = SIZE / 2
    size: float = 90.0
    tilt: float = 0.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.noun not in NOUNS:
            raise ValueError(f"noun: {self.noun!r} is not one of {', '.join(NOUNS)}")
        if self.colour is not None and self.colour not in COLOURS:
            raise ValueError(f"colour: {self.colour!r} is not one of {', '.join(COLOURS)}")

    @property
    def colour_number(self) -> int:
        """OWN, or 1 + the index of the colour."""
        return OWN if self.colour is None else 1 + COLOURS.index(self.colour)


@dataclass(frozen=True)
class Scene:
    """One or two things on a background. `worn`: the first wears the second. `seed` varies the background.

    Raises ValueError for another number of things, or a style or background that there is not."""

    things: tuple[Thing, ...]
    style: str = "drawing"
    background: str = "white"
    worn: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= len(self.things) <= 2:
            raise ValueError(f"things: a scene holds one or two, not {len(self.things)}")
        if self.style not in STYLES:
            raise ValueError(f"style: {self.style!r} is not one of {', '.join(STYLES)}")
        if self.background not in BACKGROUNDS:
            raise ValueError(f"background: {self.background!r} is not one of {', '.join(BACKGROUNDS)}")

    @property
    def relation(self) -> str | None:
        """Where the first thing is, seen from the second, if that is clear."""
        if len(self.things) < 2 or self.worn:
            return None
        first, second = self.things
        dx, dy = first.x - second.x, first.y - second.y
        if abs(dx) >= RELATION_CLARITY * abs(dy):
            return "left of" if dx < 0 else "right of"
        if abs(dy) >= RELATION_CLARITY * abs(dx):
            return "above" if dy < 0 else "below"
        return None


def pair_held_out(first: str, second: str) -> bool:
    """Whether training never shows these two nouns together."""
    return zlib.crc32("|".join(sorted((first, second))).encode()) % HELD_OUT_PAIRS == 0


@lru_cache(maxsize=4096)
def clashes(style: str, noun: str, colour_number: int, background: str) -> bool:
    """Whether a thing would hardly show before a background. Stickers show everywhere, for they have a border; black
    ink does not show in the dark."""
    if style == "sticker":
        return False
    if style == "line drawing" and background in ("night", "black"):
        return True
    mean = mean_colours()[STYLES.index(style), NOUNS.index(noun), colour_number]
    distance = math.sqrt(sum((float(a) - b) ** 2 for a, b in zip(mean, level_of(background), strict=True)))
    return distance < TOO_NEAR


def sample_scene(
    random: random.Random, double_share: float = DOUBLE_SHARE, all_pairs: bool = False, contents: Contents = WHOLE
) -> Scene:
    """One random scene, without the held-out pairs of nouns unless `all_pairs`, as a judge must know them."""
    style = random.choices(STYLES, contents.styles)[0]
    kind = random.random()
    if kind >= double_share:
        return _framed(random, (_single(random, style, contents),), style)
    if kind < WORN_PAIRS * double_share:
        return _framed(random, _worn_pair(random, style, all_pairs, contents), style, worn=True)
    return _framed(random, _pair(random, style, all_pairs, contents), style)


def _noun(random: random.Random, contents: Contents) -> str:
    return random.choice((*ANIMALS, *OBJECTS) if random.random() < contents.main_share else contents.others)


def _colour(random: random.Random, noun: str, style: str, contents: Contents) -> str | None:
    if random.random() >= contents.share_coloured(noun):
        return None
    # White ink on white paper would be nothing.
    return random.choice(COLOURS[:-1] if style == "line drawing" else COLOURS)


def _different(draw: Callable[[], tuple[str, str]], all_pairs: bool) -> tuple[str, str]:
    while True:
        first, second = draw()
        if first != second and (all_pairs or not pair_held_out(first, second)):
            return first, second


def _loose(random: random.Random, contents: Contents) -> tuple[float, bool]:
    """Tilt, and whether mirrored."""
    return random.uniform(-contents.max_tilt, contents.max_tilt), random.random() < 0.5


def _single(random: random.Random, style: str, contents: Contents) -> Thing:
    noun, size = _noun(random, contents), random.uniform(*contents.single_size)
    low = FILLED * size + MARGIN
    x, y = random.uniform(low, SIZE - low), random.uniform(low, SIZE - low)
    return Thing(noun, _colour(random, noun, style, contents), x, y, size, *_loose(random, contents))


def _pair(random: random.Random, style: str, all_pairs: bool, contents: Contents) -> tuple[Thing, Thing]:
    nouns = _different(lambda: (_noun(random, contents), _noun(random, contents)), all_pairs)
    sizes = (random.uniform(*contents.pair_size), random.uniform(*contents.pair_size))
    centres = place_two(random, sizes)
    first, second = (
        Thing(noun, _colour(random, noun, style, contents), *centre, size, *_loose(random, contents))
        for noun, centre, size in zip(nouns, centres, sizes, strict=True)
    )
    return first, second


def place_two(random: random.Random, sizes: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Centres of two things of these sides inside the picture that do not touch; side by side if chance finds none."""
    lows = [FILLED * size + MARGIN for size in sizes]
    for _ in range(PLACEMENT_TRIALS):
        centres = [(random.uniform(low, SIZE - low), random.uniform(low, SIZE - low)) for low in lows]
        if math.dist(*centres) >= FILLED * sum(sizes) + MARGIN:
            return centres[0], centres[1]
    y = random.uniform(max(lows), SIZE - max(lows))
    left, right = (lows[0], y), (SIZE - lows[1], y)
    return left, right


def _worn_pair(random: random.Random, style: str, all_pairs: bool, contents: Contents) -> tuple[Thing, Thing]:
    wearer, worn = _different(lambda: (random.choice(contents.wearers), random.choice(WORN)), all_pairs)
    size = random.uniform(*WEARER_SIZE)
    low = FILLED * size + MARGIN
    x, y = random.uniform(low, SIZE - low), random.uniform(SIZE / 2 + 4, SIZE - 0.42 * size)
    host = Thing(wearer, _colour(random, wearer, style, contents), x, y, size, mirrored=random.random() < 0.5)
    return host, put_on(host, worn, _colour(random, worn, style, contents), style)


def put_on(host: Thing, noun: str, colour: str | None, style: str) -> Thing:
    """What `host` wears: glasses before the eyes, anything else on the top of the head. The host stands upright."""
    across, top = (float(v) for v in heads()[STYLES.index(style), NOUNS.index(host.noun)])
    if host.mirrored:
        across = 1 - across
    size = host.size * WORN_SHARE.get(noun, 0.5)
    if noun == "glasses":
        down = top + (EYES_OF_FACE if host.noun in FACES else EYES_OF_BODY)
    else:
        # It overlaps the head by a third of itself.
        down = top - 0.17 * size / host.size
    return Thing(noun, colour, host.x + (across - 0.5) * host.size, host.y + (down - 0.5) * host.size, size)


def _framed(random: random.Random, things: tuple[Thing, ...], style: str, worn: bool = False) -> Scene:
    shares = [
        0.0 if any(clashes(style, t.noun, t.colour_number, background) for t in things) else share
        for background, share in zip(BACKGROUNDS, BACKGROUND_SHARES, strict=True)
    ]
    background = random.choices(BACKGROUNDS, shares if any(shares) else BACKGROUND_SHARES)[0]
    return Scene(things, style, background, worn, random.randrange(2**31))
