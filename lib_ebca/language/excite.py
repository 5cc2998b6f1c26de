"""The part of a plan that asks for a subject to be in the picture (Attend-and-Excite)."""

from __future__ import annotations

from dataclasses import dataclass

from lib_ebca.language.checks import PlanError, filled_text, number, set_fields, word_and_occurrence

PUBLISHED_SCALE = 20.0
PUBLISHED_UNTIL = 0.5

_CONCEPT = "the name of a concept of the head relevance vectors, such as Animals"


@dataclass(frozen=True)
class Excite:
    """A word or phrase of the prompt that some place of the picture should be looking at.

    `word` and `occurrence` are as in a Boost; "*" stands for every noun-like word. `scale` is the step size of the
    latent, `until` the fraction of the pass after which the latent is left alone, `refine` says whether the steps at
    0, 0.2 and 0.4 of the pass are repeated until the word has its share. With a `concept` of the head relevance vectors
    the word is read off all layers' heads, each as far as it cares for the concept (A&E-HRV). Raises PlanError.
    """

    word: str
    occurrence: int | None = None
    scale: float = PUBLISHED_SCALE
    until: float = PUBLISHED_UNTIL
    refine: bool = True
    concept: str | None = None

    def __post_init__(self) -> None:
        word, occurrence = word_and_occurrence(self.word, self.occurrence)
        scale = number("scale", self.scale, "a finite number of at least 0")
        if scale < 0.0:
            raise PlanError("scale", scale, "a finite number of at least 0")
        until = number("until", self.until, "a fraction of the pass, from 0 to 1")
        if not 0.0 <= until <= 1.0:
            raise PlanError("until", until, "a fraction of the pass, from 0 to 1")
        if not isinstance(self.refine, bool):
            raise PlanError("refine", self.refine, "on or off (True or False)")
        if self.concept is not None:
            concept = filled_text("concept", self.concept, _CONCEPT)
            if "=" in concept:
                raise PlanError("concept", concept, f"{_CONCEPT}, without =")
            set_fields(self, concept=concept)
        set_fields(self, word=word, occurrence=occurrence, scale=scale, until=until)

    @property
    def active(self) -> bool:
        """Whether it changes anything at any moment of a pass."""
        return self.scale > 0.0 and self.until > 0.0
