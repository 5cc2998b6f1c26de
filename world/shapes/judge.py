"""The judge: what was seen in a picture, held against what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .scenes import COLOURS, SHAPES
from .sightings import Reading, Sighting


@dataclass(frozen=True)
class Wanted:
    """One object asked for; None stands for anything."""

    shape: str | None
    colour: str | None = None

    def __post_init__(self) -> None:
        if self.shape is not None and self.shape not in SHAPES:
            raise ValueError(f"shape: {self.shape!r} is not one of {', '.join(SHAPES)}")
        if self.colour is not None and self.colour not in COLOURS:
            raise ValueError(f"colour: {self.colour!r} is not one of {', '.join(COLOURS)}")

    def met_by(self, seen: Sighting) -> bool:
        """True if this sighting is what was asked for."""
        return self.shape in (None, seen.shape) and self.colour in (None, seen.colour)


@dataclass(frozen=True)
class Verdict:
    """A reading held against what was asked for.

    `shapes`: every wanted shape is there, in any colour. `colours`: every wanted colour is somewhere. `binding`: every
    wanted object is there as asked. `wrong_binding`: a wanted shape wears another wanted object's colour. `exact`:
    `binding`, and nothing else is there. `met`: how many of the wanted objects are there as asked. `neglected`: the
    wanted objects of whose shape there is none.
    """

    shapes: bool
    colours: bool
    binding: bool
    wrong_binding: bool
    exact: bool
    count: int
    met: int
    neglected: tuple[Wanted, ...]


def judge(reading: Reading, wanted: Sequence[Wanted]) -> Verdict:
    """Hold one reading against the objects asked for."""
    seen = reading.objects
    shapes, colours = {o.shape for o in seen}, {o.colour for o in seen}
    asked = {(w.colour, w.shape) for w in wanted}
    shape_names, colour_names = {w.shape for w in wanted} - {None}, {w.colour for w in wanted} - {None}
    met = sum(any(w.met_by(o) for o in seen) for w in wanted)
    binding = met == len(wanted)
    crossed = any(
        o.shape in shape_names
        and o.colour in colour_names
        and (o.colour, o.shape) not in asked
        and (None, o.shape) not in asked
        for o in seen
    )
    return Verdict(
        shapes=shape_names <= shapes,
        colours=colour_names <= colours,
        binding=binding,
        wrong_binding=crossed,
        exact=binding and len(seen) == len(wanted),
        count=len(seen),
        met=met,
        neglected=tuple(w for w in wanted if w.shape is not None and w.shape not in shapes),
    )
