"""Prompt emphasis as the WebUI reads it: (more) [less] (weighted:1.3), backslash escapes and BREAK."""

from __future__ import annotations

import re
from itertools import groupby
from operator import itemgetter

MORE = 1.1
LESS = 1 / 1.1
BREAK = ("BREAK", -1.0)

_PIECE = re.compile(
    r"\\[\\()\[\]]?"
    r"|:\s*(?P<weight>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)"
    r"|[()\[\]:]"
    r"|[^\\()\[\]:]+"
)
_BREAK = re.compile(r"\bBREAK\b")


def parse(prompt: str) -> list[tuple[str, float]]:
    r"""The prompt in runs of equal weight.

    (x) weighs 1.1 times as much, [x] 1/1.1 times, (x:1.3) 1.3 times; brackets nest, and an open one reaches to the
    end of the prompt. \( \) \[ \] \\ are the character itself; a backslash before anything else vanishes. BREAK
    becomes the run ("BREAK", -1.0), unless it stands in brackets, whose weight it then takes as the words do. A weight
    that is no number, as in (x:1.2.3), is text. An empty prompt is one run of "". Reading takes time linear in the
    length of the prompt, however deep its brackets are.
    """
    runs: list[tuple[str, float]] = []
    # For each run the innermost round bracket around it (0: none) and how many square ones. Round brackets nest among
    # themselves, and so do square ones, but the two kinds may cross.
    places: list[tuple[int, int]] = []
    around, factors = [0], [1.0]
    opened, square = [0], 0
    for piece in _PIECE.finditer(prompt):
        text, weight = piece[0], piece["weight"]
        within = opened[-1]
        if text == "(":
            around.append(within)
            factors.append(MORE)
            opened.append(len(factors) - 1)
        elif text == "[":
            square += 1
        elif within and (weight is not None or text == ")"):
            factors[opened.pop()] = MORE if weight is None else float(weight)
        elif text == "]" and square:
            square -= 1
        else:
            found = [(text[1:], 1.0)] if text[0] == "\\" else _broken(text)
            runs += found
            places += [(within, square)] * len(found)
    # Every bracket's number is larger than that of the one around it.
    for number, outer in enumerate(around):
        factors[number] *= factors[outer] if number else 1.0
    less = _powers(LESS, max((square for _, square in places), default=0))
    weighted = (
        (text, weight * factors[within] * less[square])
        for (text, weight), (within, square) in zip(runs, places, strict=True)
    )
    merged = groupby(weighted, key=itemgetter(1))
    return [("".join(text for text, _ in group), weight) for weight, group in merged] or [("", 1.0)]


def _powers(base: float, most: int) -> list[float]:
    powers = [1.0]
    for _ in range(most):
        powers.append(powers[-1] * base)
    return powers


def _broken(text: str) -> list[tuple[str, float]]:
    first, *others = _BREAK.split(text)
    if not others:
        return [(text, 1.0)]
    # The white space around BREAK belongs to it.
    parts = [first.rstrip(), *(part.strip() for part in others[:-1]), others[-1].lstrip()]
    return [run for part in parts for run in (BREAK, (part, 1.0))][1:]
