"""The part of a plan that strengthens or adjusts what a word means, through the heads that care for a concept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lib_ebca.language.checks import PlanError, filled_text, number, set_fields, window, word_and_occurrence

RESERVED = ("from", "until", "clamp", "floor")
"""Names that a directive needs for itself."""

_WEIGHTS = "a concept, or a mapping of concepts to numbers such as {'Color': 2, 'Plants': -1}"


@dataclass(frozen=True)
class Concept:
    """Factors of the attention to a word, head by head: the sum of `weights` times each concept's head relevance.

    {"Color": 1}, or just "Color", strengthens a concept on the word; {"Color": 2, "Plants": -1} takes the wrong one of
    two meanings away. Concepts are those of the vectors in use, whatever their case. `word` is as in a Boost, `start`
    and `until` are fractions of the pass. Relevances count no further than `clamp` and no less than `floor`; without
    them as the vectors have it. Raises PlanError.
    """

    word: str
    weights: tuple[tuple[str, float], ...]
    occurrence: int | None = None
    start: float = 0.0
    until: float = 1.0
    clamp: float | None = None
    floor: float | None = None

    def __post_init__(self) -> None:
        word, occurrence = word_and_occurrence(self.word, self.occurrence)
        start, until = window(self.start, self.until)
        set_fields(self, word=word, occurrence=occurrence, weights=_weights(self.weights), start=start, until=until)
        for name in ("clamp", "floor"):
            if getattr(self, name) is not None:
                set_fields(self, **{name: _positive(name, getattr(self, name))})
        if self.clamp is not None and self.floor is not None and self.floor > self.clamp:
            raise PlanError("floor", self.floor, f"at most clamp, which is {self.clamp!r}")

    @property
    def active(self) -> bool:
        """Whether it changes anything at any moment of a pass."""
        return self.start < self.until or self.until == 1.0


def _positive(name: str, value: object) -> float:
    expected = "a finite number of at least 0"
    given = number(name, value, expected)
    if given < 0:
        raise PlanError(name, value, expected)
    return given


def _weights(value: Any) -> tuple[tuple[str, float], ...]:
    if isinstance(value, str):
        value = {value: 1.0}
    pairs = value.items() if isinstance(value, Mapping) else value
    if not isinstance(pairs, Iterable):
        raise PlanError("weights", value, _WEIGHTS)
    found: dict[str, tuple[str, float]] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise PlanError("weights", value, _WEIGHTS)
        name = filled_text("weights", pair[0], _WEIGHTS)
        if "=" in name or name.lower() in RESERVED:
            raise PlanError("weights", name, f"the name of a concept, without = and other than {', '.join(RESERVED)}")
        if name.lower() in found:
            raise PlanError("weights", value, f"made of concepts that are named once each, and {name} comes twice")
        found[name.lower()] = name, number(f"weights[{name!r}]", pair[1])
    if not found:
        raise PlanError("weights", value, _WEIGHTS)
    return tuple(found.values())
