"""The accordion's row of subjects: their words, and a scale and an end for those that state none of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from lib_ebca.language.checks import PlanError
from lib_ebca.language.directives import DirectiveError, parse, write
from lib_ebca.language.excite import PUBLISHED_SCALE, PUBLISHED_UNTIL, Excite
from lib_ebca.language.plan import Plan

_COMMA = re.compile(r"(?<!\\),")
_START, _END = "<excite:", ">"


class SubjectError(PlanError):
    """One of the row's subjects cannot be read; its directive's own sentence says why."""

    def __init__(self, subject: str, sentence: str) -> None:
        super().__init__("subjects", subject, sentence)
        self.args = (f"subjects, {self.shown}: {sentence}",)

    def __reduce__(self) -> tuple[type[SubjectError], tuple[str, str]]:
        return SubjectError, (str(self.value), self.expected)


def from_row(words: str, scale: float, until: float) -> tuple[Excite, ...]:
    r"""The subjects of "cat, dog:scale=10"; a comma that belongs to a word is written \,. Raises PlanError."""
    found = []
    for part in filter(None, map(str.strip, _COMMA.split(words))):
        try:
            parsed = parse(f"{_START}{part.replace(chr(92) + ',', ',')}{_END}")
        except DirectiveError as error:
            raise SubjectError(part, error.expected) from None
        if parsed.text or len(parsed.plan.excite) != 1:
            raise PlanError("subjects", part, "words of the prompt, as in cat, dog:scale=10")
        (excite,) = parsed.plan.excite
        plain = replace(excite, concept=None) == Excite(excite.word, excite.occurrence)
        found.append(replace(excite, scale=scale, until=until) if plain else excite)
    return tuple(found)


def to_row(excites: Sequence[Excite]) -> tuple[str, float, float]:
    """Words, scale and end of the row that stands for these."""
    shared = {(each.scale, each.until, each.refine) for each in excites}
    scale, until = PUBLISHED_SCALE, PUBLISHED_UNTIL
    if len(shared) == 1 and excites[0].refine:
        scale, until = excites[0].scale, excites[0].until
        excites = [replace(each, scale=PUBLISHED_SCALE, until=PUBLISHED_UNTIL) for each in excites]
    written = [write(Plan(excite=(each,)))[len(_START) : -len(_END)] for each in excites]
    return ", ".join(each.replace(",", "\\,") for each in written), scale, until
