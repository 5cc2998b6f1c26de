"""The multi-concept prompts of Head Relevance Vectors, from their templates (Park et al., ICLR 2025).

The published colours, orders and pairs with colours were drawn at random; ours are drawn by a seed of their own, so the
animals, the colours and the forms are the published ones and the draws are not.
"""

from __future__ import annotations

import itertools
import random

from world.book.judge import Wanted
from world.book.vocabulary import NOUNS

from .prompts import Prompt

ANIMALS = (
    *("bear", "bird", "cat", "deer", "dog", "fish"),
    *("fox", "frog", "horse", "lion", "penguin", "squirrel"),
)
COLOURS = ("red", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "black", "white")
PLAIN_PAIRS, COLOURED_PAIRS = "hrv-animals", "hrv-coloured-animals"
SETS = (PLAIN_PAIRS, COLOURED_PAIRS)
COLOURED_COUNT = 150
SEED = 340


def prompts(group: str) -> list[Prompt]:
    """The prompts of one of SETS: 66 of two animals, 150 of two coloured ones, with "a" everywhere, as published.

    What they ask for is written down for a judge where both animals are nouns of the book world.

    Raises:
        ValueError: there is no such set.
    """
    if group not in SETS:
        raise ValueError(f"set {group!r} is not one of {', '.join(SETS)}")
    draw = random.Random(f"{SEED} {group}")
    if group == PLAIN_PAIRS:
        return [_prompt([(noun, None) for noun in draw.sample(p, 2)]) for p in itertools.combinations(ANIMALS, 2)]
    found: dict[str, Prompt] = {}
    while len(found) < COLOURED_COUNT:
        prompt = _prompt(list(zip(draw.sample(ANIMALS, 2), draw.sample(COLOURS, 2), strict=True)))
        found[prompt.text] = prompt
    return list(found.values())


def _prompt(asked: list[tuple[str, str | None]]) -> Prompt:
    text = " and ".join(f"a {noun}" if colour is None else f"a {colour} {noun}" for noun, colour in asked)
    known = all(noun in NOUNS for noun, _ in asked)
    return Prompt(text, tuple(Wanted(*one) for one in asked) if known else (), tuple(noun for noun, _ in asked))
