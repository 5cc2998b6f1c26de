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
    that is no number, as in (x:1.2.3), is text. An empty prompt is one run of "".
    """
    runs: list[tuple[str, float]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def weigh(start: int, factor: float) -> None:
        runs[start:] = [(text, weight * factor) for text, weight in runs[start:]]

    for piece in _PIECE.finditer(prompt):
        text, weight = piece[0], piece["weight"]
        if text[0] == "\\":
            runs.append((text[1:], 1.0))
        elif text in opened:
            opened[text].append(len(runs))
        elif weight is not None and opened["("]:
            weigh(opened["("].pop(), float(weight))
        elif text == ")" and opened["("]:
            weigh(opened["("].pop(), MORE)
        elif text == "]" and opened["["]:
            weigh(opened["["].pop(), LESS)
        else:
            runs.extend(_broken(text))
    for bracket, factor in (("(", MORE), ("[", LESS)):
        for start in opened[bracket]:
            weigh(start, factor)
    merged = groupby(runs, key=itemgetter(1))
    return [("".join(text for text, _ in group), weight) for weight, group in merged] or [("", 1.0)]


def _broken(text: str) -> list[tuple[str, float]]:
    first, *others = _BREAK.split(text)
    if not others:
        return [(text, 1.0)]
    # The white space around BREAK belongs to it.
    parts = [first.rstrip(), *(part.strip() for part in others[:-1]), others[-1].lstrip()]
    return [run for part in parts for run in (BREAK, (part, 1.0))][1:]
