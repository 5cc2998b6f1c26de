"""The 276 prompts of Attend-and-Excite, from their templates (Chefer et al., SIGGRAPH 2023, section 5).

The published colours and orders were drawn at random; ours are drawn by a seed of their own, so the pairs and the forms
are the published ones and the colours are not.
"""

from __future__ import annotations

import itertools
import random

from world.book.judge import Wanted

from .prompts import Prompt

ANIMALS = ("cat", "dog", "bird", "bear", "lion", "horse", "elephant", "monkey", "frog", "turtle", "rabbit", "mouse")
OBJECTS = (
    *("backpack", "glasses", "crown", "suitcase", "chair", "balloon"),
    *("bow", "car", "bowl", "bench", "clock", "apple"),
)
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "black", "white")
WORN = ("bow", "crown", "glasses")
SETS = ("animal-animal", "animal-object", "object-object")
SEED = 276


def prompts(group: str) -> list[Prompt]:
    """The prompts of one of SETS: 66, 144 and 66. "a" stands before every noun, as published.

    Raises:
        ValueError: there is no such set.
    """
    if group not in SETS:
        raise ValueError(f"set {group!r} is not one of {', '.join(SETS)}")
    draw = random.Random(f"{SEED} {group}")
    if group == "animal-animal":
        pairs = [draw.sample(pair, 2) for pair in itertools.combinations(ANIMALS, 2)]
        return [_prompt("and", Wanted(a), Wanted(b)) for a, b in pairs]
    if group == "animal-object":
        return [_animal_object(animal, thing, draw) for animal in ANIMALS for thing in OBJECTS]
    pairs = [draw.sample(pair, 2) for pair in itertools.combinations(OBJECTS, 2)]
    return [_prompt("and", Wanted(a, draw.choice(COLOURS)), Wanted(b, draw.choice(COLOURS))) for a, b in pairs]


def _animal_object(animal: str, thing: str, draw: random.Random) -> Prompt:
    if thing in WORN:
        return _prompt("with", Wanted(animal), Wanted(thing))
    return _prompt("and", Wanted(animal), Wanted(thing, draw.choice(COLOURS)))


def _prompt(joint: str, *wanted: Wanted) -> Prompt:
    named = [w.noun if w.colour is None else f"{w.colour} {w.noun}" for w in wanted]
    return Prompt(f" {joint} ".join(f"a {name}" for name in named), wanted, tuple(w.noun for w in wanted))
