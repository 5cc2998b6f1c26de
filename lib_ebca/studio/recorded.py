"""Fields of a picture's text, each checked: whoever wrote them is not who reads them.

Ranges that an option has too are checked where the option is, after options had their say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from lib_ebca.language.checks import shortened
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.values import LONGEST_PROMPT, readable

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,19}\s*", re.ASCII)
_REAL = re.compile(r"\s*[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:e[+-]?[0-9]{1,4})?\s*", re.I | re.A)


def refused(name: str, value: str, expected: str) -> UserError:
    """The sentence on a field that cannot be as it is."""
    return UserError(f"the picture's field {name} is {shortened(value)!r}: it should be {expected}")


def text(name: str, value: str, longest: int = LONGEST_PROMPT) -> str:
    """Text of at most so many characters that can be encoded. Raises UserError."""
    return readable(f"the picture's field {name}", value, longest)


def whole(name: str, value: str, expected: str = "a whole number") -> int:
    """A whole number of at most 19 digits, Arabic ones. Raises UserError."""
    if not _WHOLE.fullmatch(value):
        raise refused(name, value, expected)
    return int(value)


def real(name: str, value: str) -> float:
    """A finite number. Raises UserError."""
    if not _REAL.fullmatch(value) or not math.isfinite(number := float(value)):
        raise refused(name, value, "a finite number")
    return number


def pair(name: str, value: str, sign: str, expected: str) -> tuple[int, int]:
    """Two whole numbers of at least 1 with `sign` between them. Raises UserError."""
    first, _, second = value.partition(sign)
    numbers = whole_or_none(first), whole_or_none(second)
    if numbers[0] is None or numbers[1] is None:
        raise refused(name, value, expected)
    return numbers[0], numbers[1]


def whole_or_none(value: str) -> int | None:
    """A whole number of at least 1, or None."""
    return int(value) if _WHOLE.fullmatch(value) and int(value) >= 1 else None


def numbered(fields: Mapping[str, str], name: str) -> list[str]:
    """The values of the fields `name` 1, `name` 2, ... in the order of their numbers."""
    found = ((key[len(name) :].strip(), value) for key, value in fields.items() if key.startswith(name))
    return [value for _, value in sorted((int(n), v) for n, v in found if n.isascii() and n.isdigit() and len(n) < 5)]
