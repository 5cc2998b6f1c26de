"""What is asked of a model: prompts with their seeds, and what a picture must hold to have followed them."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from world.book.judge import Wanted as Thing
from world.shapes.judge import Wanted
from world.shapes.scenes import COLOURS, SHAPES, held_out_combinations, pair_held_out, training_combinations

HALVES = ("tuning", "reporting")
ONE, TWO, COLOURED, HELD_OUT, THREE = "one", "two", "coloured", "held-out", "three"
SHAPES_SETS = {
    ONE: "one coloured object",
    TWO: "two objects, colours free",
    COLOURED: "two coloured objects",
    HELD_OUT: "two coloured objects in combinations that training never showed",
    THREE: "three coloured objects, which is one more than training ever showed",
}
THREES = 2400
SHUFFLE = 20_230_616


@dataclass(frozen=True)
class Prompt:
    """A prompt, what it asks for where a judge can tell, and its nouns, which a method may boost."""

    text: str
    wanted: tuple[Wanted | Thing, ...] = ()
    nouns: tuple[str, ...] = ()

    @property
    def shapes(self) -> tuple[Wanted, ...]:
        """What it asks of the embedded model's world."""
        return tuple(wanted for wanted in self.wanted if isinstance(wanted, Wanted))

    @property
    def things(self) -> tuple[Thing, ...]:
        """What it asks of the book world."""
        return tuple(wanted for wanted in self.wanted if isinstance(wanted, Thing))


@dataclass(frozen=True)
class Item:
    """One picture to be made. `seed` numbers the pictures of a prompt; the noise depends on prompt and seed alone."""

    group: str
    prompt: Prompt
    seed: int

    @property
    def noise_seed(self) -> int:
        """The seed of the picture's first latent, below 2 ** 63."""
        digest = hashlib.sha256(f"{self.seed}|{self.prompt.text}".encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1


def items(group: str, prompts: Sequence[Prompt], count: int, first_seed: int = 0) -> list[Item]:
    """`count` pictures: the prompts in turn, each round with the next seed, so that neighbours differ."""
    return [Item(group, prompts[i % len(prompts)], first_seed + i // len(prompts)) for i in range(count)]


def shapes_prompts(group: str, half: str | None = None) -> list[Prompt]:
    """The embedded model's prompts of one set, shuffled once and for all.

    Args:
        group: one of SHAPES_SETS.
        half: "tuning" or "reporting" for one half of them. The halves share no prompt, and none with the same objects
            in another order. None for all.

    Raises:
        ValueError: there is no such set or half.
    """
    if group not in SHAPES_SETS:
        raise ValueError(f"set {group!r} is not one of {', '.join(SHAPES_SETS)}")
    if half not in (None, *HALVES):
        raise ValueError(f"half {half!r} is not one of {', '.join(HALVES)}")
    by_objects: dict[frozenset[Wanted], list[Prompt]] = {}
    for wanted in _combinations(group):
        by_objects.setdefault(frozenset(wanted), []).append(_prompt(wanted))
    together = list(by_objects.values())
    random.Random(SHUFFLE).shuffle(together)
    if half is not None:
        together = together[HALVES.index(half) :: 2]
    # One order of each pair of objects first, then the other, so that few pictures still see many pairs.
    return [prompt for turn in itertools.zip_longest(*together) for prompt in turn if prompt is not None]


def _combinations(group: str) -> list[tuple[Wanted, ...]]:
    if group == ONE:
        return [
            (Wanted(shape, colour),)
            for c, colour in enumerate(COLOURS)
            for s, shape in enumerate(SHAPES)
            if not pair_held_out(c, s)
        ]
    if group == TWO:
        return [(Wanted(a), Wanted(b)) for a, b in itertools.permutations(SHAPES, 2)]
    if group == THREE:
        return _threes()
    rows = training_combinations() if group == COLOURED else held_out_combinations()
    # With two colours alike there is no binding to get wrong.
    return [(Wanted(SHAPES[s1], COLOURS[c1]), Wanted(SHAPES[s2], COLOURS[c2])) for c1, s1, c2, s2 in rows if c1 != c2]


def _threes() -> list[tuple[Wanted, ...]]:
    """THREES rows of three objects without a shape or a colour in common, each pair of words seen in training."""
    draw = random.Random(SHUFFLE)
    found: dict[frozenset[Wanted], tuple[Wanted, ...]] = {}
    while len(found) < THREES:
        shapes, colours = draw.sample(range(len(SHAPES)), 3), draw.sample(range(len(COLOURS)), 3)
        if not any(pair_held_out(c, s) for c, s in zip(colours, shapes, strict=True)):
            row = tuple(Wanted(SHAPES[s], COLOURS[c]) for c, s in zip(colours, shapes, strict=True))
            found[frozenset(row)] = row
    return list(found.values())


def _prompt(wanted: tuple[Wanted, ...]) -> Prompt:
    nouns = tuple(str(w.shape) for w in wanted)
    named = [noun if w.colour is None else f"{w.colour} {noun}" for w, noun in zip(wanted, nouns, strict=True)]
    text = " and ".join(f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in named)
    return Prompt(text, wanted, nouns)
