"""The sets of prompts that there are, and the comparisons of the literature: which sets, by which methods, how many."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from . import attend_and_excite, hrv_multi
from .prompts import HALVES, SHAPES_SETS, SHUFFLE, Prompt, shapes_prompts

PUBLISHED_SETS = (*attend_and_excite.SETS, *hrv_multi.SETS)
SETS = (*SHAPES_SETS, *PUBLISHED_SETS)


@dataclass(frozen=True)
class Protocol:
    """One comparison: sets of prompts, methods out of `methods.OFFERED`, and pictures of each set, at least."""

    sets: tuple[str, ...]
    methods: tuple[str, ...]
    pictures: int = 500


PROTOCOLS = {
    "attend-and-excite": Protocol(
        attend_and_excite.SETS,
        ("plain", "bcu", "bcu-gentle", "boosts", "edits", "excite", "excite-bcu", "excite-boosts"),
    ),
    "hrv-multi": Protocol(hrv_multi.SETS, ("plain", "bcu", "boosts", "excite", "excite-bcu")),
}


def set_prompts(name: str, half: str | None = None) -> list[Prompt]:
    """The prompts of one of SETS, or one half of them. Raises ValueError for a set or half that there is not."""
    if name in SHAPES_SETS:
        return shapes_prompts(name, half)
    room = hrv_multi if name in hrv_multi.SETS else attend_and_excite
    return halved(room.prompts(name), half)


def halved(prompts: Sequence[Prompt], half: str | None) -> list[Prompt]:
    """All prompts as they stand, or one of two halves that share none, drawn once and for all.

    Raises:
        ValueError: there is no such half.
    """
    if half is None:
        return list(prompts)
    if half not in HALVES:
        raise ValueError(f"half {half!r} is not one of {', '.join(HALVES)}")
    shuffled = list(prompts)
    random.Random(SHUFFLE).shuffle(shuffled)
    return shuffled[HALVES.index(half) :: 2]
