"""The accordion's row for one concept: word, concept, factor."""

from __future__ import annotations

from collections.abc import Sequence

from lib_ebca.language.checks import PlanError
from lib_ebca.language.concept import Concept


def from_row(word: str, name: str, factor: float) -> tuple[Concept, ...]:
    """The concept of the accordion's row; none if its word is empty. Raises PlanError."""
    if not word.strip():
        return ()
    try:
        return (Concept(word, ((name, factor),)),)
    except PlanError as error:
        raise error.within("concept") from None


def to_row(concepts: Sequence[Concept]) -> tuple[str, str, float] | None:
    """Word, concept and factor of the row that stands for these; None if no row can."""
    if len(concepts) != 1 or len(concepts[0].weights) != 1:
        return None
    word = concepts[0].word + ("" if concepts[0].occurrence is None else f"#{concepts[0].occurrence}")
    ((name, factor),) = concepts[0].weights
    return (word, name, factor) if from_row(word, name, factor) == tuple(concepts) else None
