"""Numbers and text as they were given, checked for what no field can hold."""

from __future__ import annotations

import math
import re

from lib_ebca.language.checks import shortened
from lib_ebca.studio.errors import UserError

MOST_STEPS = 1000  # as many as a model was trained with
LONGEST_SIDE = 8192  # pixels
MOST_JUMPS = 1000  # back, of RePaint on each stretch
LARGEST_GUIDANCE = 1000.0
LONGEST_PROMPT = 20_000  # characters: some seventy chunks, each of which the text encoder reads by itself
_PART = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


def finite(name: str, value: float) -> float:
    """`value`, or UserError where it is not a finite number."""
    if not math.isfinite(value):
        raise UserError(f"{name} is {value!r}: it should be a finite number")
    return value


def part_of(name: str, given: str) -> tuple[int, int]:
    """PART and PARTS of "2/4", PART counted from 1. Raises UserError."""
    read = _PART.fullmatch(given)
    part, parts = (int(read[1]), int(read[2])) if read else (0, 0)
    if not 1 <= part <= parts:
        raise UserError(f"{name} is {shortened(given)!r}: it should be PART/PARTS, such as 2/4")
    return part, parts


def readable(name: str, text: str, longest: int = LONGEST_PROMPT) -> str:
    """`text`, or UserError where it is too long, or came from the terminal as bytes that are not UTF-8."""
    if len(text) > longest:
        raise UserError(f"{name} has {len(text)} characters: {longest} are the most that are read")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{name} {text!r} is not valid UTF-8 text") from None
    return text
