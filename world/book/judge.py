"""The judge of the book world: what was seen in a picture, held against what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .scenes import Scene
from .sprites import read_sheets
from .vocabulary import COLOURS, NOUNS, PALETTE

# A colour belongs to a thing by nature if so much of it is nearest to it.
NATURAL_SHARE = 0.4


@dataclass(frozen=True)
class Sighting:
    """A thing that was seen: its noun, its colour (None: as such things are), its centre in pixels, and how surely."""

    noun: str
    colour: str | None
    x: float
    y: float
    score: float = 1.0


@dataclass(frozen=True)
class Wanted:
    """One thing asked for; a colour of None stands for any.

    Raises ValueError for a noun or a colour that there is not."""

    noun: str
    colour: str | None = None

    def __post_init__(self) -> None:
        if self.noun not in NOUNS:
            raise ValueError(f"noun: {self.noun!r} is not one of {', '.join(NOUNS)}")
        if self.colour is not None and self.colour not in COLOURS:
            raise ValueError(f"colour: {self.colour!r} is not one of {', '.join(COLOURS)}")

    def met_by(self, seen: Sighting) -> bool:
        """True if this sighting is what was asked for: a red apple may be an apple as apples are."""
        if self.noun != seen.noun:
            return False
        return self.colour in (None, seen.colour) or (seen.colour is None and self.colour in natural_colours(seen.noun))


@lru_cache(maxsize=len(NOUNS))
def natural_colours(noun: str) -> frozenset[str]:
    """The colours that a thing as it is may be called: those of much of it in some style but the line drawing."""
    palette = np.array(list(PALETTE.values()), np.float32)
    found: set[str] = set()
    for sprite in read_sheets()[:3, NOUNS.index(noun)]:
        seen = sprite[sprite[..., 3] > 0.5][:, :3]
        nearest = np.linalg.norm(seen[:, None] - palette, axis=2).argmin(1)
        shares = np.bincount(nearest, minlength=len(COLOURS)) / len(nearest)
        found |= {colour for colour, share in zip(COLOURS, shares, strict=True) if share >= NATURAL_SHARE}
    return frozenset(found)


@dataclass(frozen=True)
class Verdict:
    """Sightings held against what was asked for.

    `nouns`: every wanted noun is there, in any colour. `right`: every wanted thing is there as asked. `exact`: `right`,
    and nothing else is there. `leaked`: a wanted noun wears the colour of another wanted thing. `met`: how many wanted
    things are there as asked. `neglected`: the wanted nouns that are not there.
    """

    nouns: bool
    right: bool
    exact: bool
    leaked: bool
    met: int
    neglected: tuple[str, ...]


def judge(seen: Sequence[Sighting], wanted: Sequence[Wanted]) -> Verdict:
    """Hold one picture's sightings against the things asked for."""
    there = {sighting.noun for sighting in seen}
    met = sum(any(w.met_by(s) for s in seen) for w in wanted)
    leaked = any(
        s.noun == w.noun and not w.met_by(s) and s.colour is not None and s.colour == other.colour
        for w in wanted
        for other in wanted
        if other is not w
        for s in seen
    )
    right = met == len(wanted)
    neglected = tuple(w.noun for w in wanted if w.noun not in there)
    return Verdict(not neglected, right, right and len(seen) == len(wanted), leaked, met, neglected)


def truth(scene: Scene) -> tuple[Sighting, ...]:
    """What a perfect eye would see in a scene."""
    return tuple(Sighting(thing.noun, thing.colour, thing.x, thing.y) for thing in scene.things)


def agrees(seen: Sequence[Sighting], scene: Scene, reach: float = 16.0) -> bool:
    """Whether a reading of a scene is fully right: its things, their colours, each within `reach` pixels, no more."""
    if len(seen) != len(scene.things):
        return False
    return all(
        any(Wanted(t.noun, t.colour).met_by(s) and abs(s.x - t.x) <= reach and abs(s.y - t.y) <= reach for s in seen)
        for t in scene.things
    )
