"""Captions of scenes in the literature's forms, true by construction, each word with what it speaks of."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass

from .scenes import Scene, Thing
from .vocabulary import BACKGROUNDS, COLOURS, NOUNS, PLACES, RELATIONS, STYLES

# What a word speaks of; NOBODY for an article, an opening or what joins two things.
FIRST, SECOND, BEHIND = range(3)
NOBODY = -1

OPENING = 0.35
COLOUR_NAMED = 0.93
BACKGROUND_NAMED = 0.45
FRAGMENT = 0.06
RELATED = 0.3
AN = 0.5
HELD_OUT_ONE_IN = 16
OPENINGS = {style: f"a {style} of" for style in STYLES}
TO_THE_SIDE = {"left of": "to the left of", "right of": "to the right of"}

WORDS: tuple[str, ...] = tuple(
    dict.fromkeys(
        " ".join(
            [
                *("a an and with wearing next to on background the", *OPENINGS.values(), *RELATIONS),
                *("to the left of", *PLACES.values(), *NOUNS, *COLOURS, *BACKGROUNDS),
            ]
        ).split()
    )
)
"""Every word of the captions."""


@dataclass(frozen=True)
class Caption:
    """The words of a caption and what each speaks of."""

    words: tuple[str, ...]
    owners: tuple[int, ...]

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def held_out(self) -> bool:
        """Whether training never shows these very words, whoever samples them."""
        return zlib.crc32(self.text.encode()) % HELD_OUT_ONE_IN == 0


def write_caption(scene: Scene, draw: random.Random) -> Caption:
    """One caption of a scene; what it leaves out (a colour, the style, the background) is free in the picture."""
    parts: list[tuple[str, int]] = []
    fragment = len(scene.things) == 1 and draw.random() < FRAGMENT
    if not fragment and draw.random() < OPENING:
        parts.append((OPENINGS[scene.style], NOBODY))
    parts += _named(scene.things[0], FIRST, draw, bare=fragment)
    if len(scene.things) == 2:
        parts.append((_joint(scene, draw), NOBODY))
        parts += _named(scene.things[1], SECOND, draw)
    if not fragment and draw.random() < BACKGROUND_NAMED:
        parts += _behind(scene.background)
    pairs = [(word, owner) for text, owner in parts for word in text.split()]
    return Caption(tuple(w for w, _ in pairs), tuple(o for _, o in pairs))


def describe(scene: Scene) -> str:
    """The plainest caption of a scene: its things with the colours they were given, and where they are."""
    joint = " wearing " if scene.worn else " and "
    behind = " ".join(text for text, _ in _behind(scene.background))
    return f"{joint.join(map(named, scene.things))} {behind}"


def named(thing: Thing) -> str:
    """A thing with its article, and its colour if it was given one."""
    name = thing.noun if thing.colour is None else f"{thing.colour} {thing.noun}"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _named(thing: Thing, owner: int, draw: random.Random, bare: bool = False) -> list[tuple[str, int]]:
    coloured = thing.colour is not None and draw.random() < COLOUR_NAMED
    name = f"{thing.colour} {thing.noun}" if coloured else thing.noun
    # The published prompts write "a elephant".
    article = "an" if name[0] in "aeiou" and draw.random() < AN else "a"
    return [(name, owner)] if bare else [(article, NOBODY), (name, owner)]


def _joint(scene: Scene, draw: random.Random) -> str:
    if scene.worn:
        return "with" if draw.random() < 0.5 else "wearing"
    relation = scene.relation
    if relation is not None and draw.random() < RELATED:
        return TO_THE_SIDE.get(relation, relation) if draw.random() < 0.5 else relation
    return draw.choices(("and", "next to", "with"), (0.8, 0.12, 0.08))[0]


def _behind(background: str) -> list[tuple[str, int]]:
    if background in PLACES:
        return [(PLACES[background], BEHIND)]
    return [("on a", NOBODY), (f"{background} background", BEHIND)]
