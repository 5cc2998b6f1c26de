"""What a field of a plan may hold, and the sentence for whatever else it is given."""

from __future__ import annotations

import difflib
import math
import numbers
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

MOST_COUNTED = 999_999
_OCCURRENCE = re.compile(r"(.*\S)\s*#([0-9]{1,6})", re.DOTALL)
_Part = TypeVar("_Part")


def shortened(text: str, limit: int = 80) -> str:
    """`text`, with its middle left out where it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    tail = limit // 4
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def meant(given: str, known: Iterable[str]) -> str:
    """ " (did you mean X?)" with the nearest of the `known` words, and nothing where none is near."""
    spelled = {word.casefold(): word for word in known}
    asked = given.strip().casefold()
    close = difflib.get_close_matches(asked, spelled)
    # Letters that changed places are the likelier slip: form is from, and not norm.
    close.sort(key=lambda word: sorted(word) != sorted(asked))
    return f" (did you mean {spelled[close[0]]}?)" if close else ""


class PlanError(ValueError):
    """A plan cannot be as asked. `str()` is one sentence that names the field, the value and what would be right."""

    def __init__(self, field: str, value: object, expected: str, shown: str | None = None) -> None:
        self.field = field
        self.value = value
        self.expected = expected
        self.shown = _shown(value) if shown is None else shown
        super().__init__(f"{field} is {self.shown}: it should be {expected}")

    def __reduce__(self) -> tuple[type[PlanError], tuple[Any, ...]]:
        return PlanError, (self.field, self.value, self.expected, self.shown)

    def within(self, owner: str) -> PlanError:
        """The same error with the field named as a part of `owner`."""
        return PlanError(f"{owner}.{self.field}", self.value, self.expected, self.shown)


def _shown(value: object) -> str:
    try:
        return shortened(repr(value))
    except ValueError:
        # Python writes out no number of more than some thousand digits.
        return "a number of thousands of digits"


def number(field: str, value: object, expected: str = "a finite number") -> float:
    """A finite number, but no truth value."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise PlanError(field, value, expected)
    try:
        converted = float(value)
    except OverflowError:
        converted = math.inf
    if not math.isfinite(converted):
        raise PlanError(field, value, expected)
    return converted + 0.0  # minus zero becomes zero: equal plans are written alike


def count_from_one(field: str, value: object) -> int:
    """A whole number from 1 to MOST_COUNTED."""
    if not isinstance(value, bool) and isinstance(value, numbers.Integral) and 1 <= int(value) <= MOST_COUNTED:
        return int(value)
    raise PlanError(field, value, f"a whole number from 1 (the first) to {MOST_COUNTED}")


def choice(field: str, value: object, choices: tuple[str, ...]) -> str:
    """One of `choices`."""
    if not isinstance(value, str) or value not in choices:
        nearest = meant(value, choices) if isinstance(value, str) else ""
        raise PlanError(field, value, f"one of {', '.join(choices)}{nearest}")
    return value


def filled_text(field: str, value: object, expected: str) -> str:
    """Text that is not empty, without the white space around it."""
    if not isinstance(value, str) or not value.strip():
        raise PlanError(field, value, expected)
    return value.strip()


def word_and_occurrence(value: object, occurrence: int | None) -> tuple[str, int | None]:
    """A word or phrase of the prompt and which of its occurrences is meant; "shirt#2" is shirt, 2."""
    word = filled_text("word", value, "a word or phrase of the prompt, or *")
    numbered = _OCCURRENCE.fullmatch(word)
    if occurrence is None and numbered is not None:
        word, occurrence = numbered.group(1), int(numbered.group(2))
    if occurrence is not None:
        occurrence = count_from_one("occurrence", occurrence)
        if word == "*":
            raise PlanError("occurrence", occurrence, "left out for *, which means every content word")
    return word, occurrence


def window(start: object, until: object) -> tuple[float, float]:
    """Two fractions of the pass in order."""
    fraction = "a fraction of the pass, from 0 to 1"
    first, last = number("start", start, fraction), number("until", until, fraction)
    for name, value in (("start", first), ("until", last)):
        if not 0.0 <= value <= 1.0:
            raise PlanError(name, value, fraction)
    if first > last:
        raise PlanError("start", first, f"at most until, which is {last!r}")
    return first, last


def parts_of(field: str, value: object, kind: type[_Part]) -> tuple[_Part, ...]:
    """A tuple of `kind` from any list or tuple."""
    expected = f"a list or tuple of {kind.__name__}"
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise PlanError(field, value, expected)
    parts = tuple(value)
    for i, part in enumerate(parts):
        if not isinstance(part, kind):
            raise PlanError(f"{field}[{i}]", part, f"of type {kind.__name__}")
    return parts


def set_fields(owner: object, **values: object) -> None:
    """Write fields of a frozen dataclass, which only its own `__post_init__` may."""
    for name, value in values.items():
        object.__setattr__(owner, name, value)
