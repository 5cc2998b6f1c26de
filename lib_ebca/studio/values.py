"""Numbers and text as they were given, checked for what no field can hold."""

from __future__ import annotations

import math

from lib_ebca.studio.errors import UserError

MOST_STEPS = 1000  # as many as a model was trained with
LONGEST_SIDE = 8192  # pixels
LARGEST_GUIDANCE = 1000.0


def finite(name: str, value: float) -> float:
    """`value`, or UserError where it is not a finite number."""
    if not math.isfinite(value):
        raise UserError(f"{name} is {value!r}: it should be a finite number")
    return value


def readable(name: str, text: str) -> str:
    """`text`, or UserError where it came from the terminal as bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{name} {text!r} is not valid UTF-8 text") from None
    return text
