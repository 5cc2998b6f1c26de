"""Captions of scenes, true by construction, composed as tensors of word numbers so that a GPU can write them too.

A caption is a row of slots: an opening, the first object, what joins the two, the second object, the background. Each
slot holds a word or nothing. Whatever a caption leaves out (a colour, a style, the background) is free in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from .scenes import COLOURS, PATTERNS, RELATIONS, SHAPES, STYLES, TONES, Scene, SceneBatch, relation_of

OPENINGS = ("", "a photo of", "a picture of", "a drawing of", "an image of", "there is")
JOINTS = ("and", ",", "next to", "with", *RELATIONS, "to the left of", "to the right of")
TO_THE_SIDE = {"left of": "to the left of", "right of": "to the right of"}

_FIXED = "a an on background shape object"
WORDS: tuple[str, ...] = tuple(
    dict.fromkeys(" ".join([_FIXED, *OPENINGS, *JOINTS, *SHAPES, *COLOURS, *STYLES, *TONES, *PATTERNS]).split())
)
NUMBER = {word: number for number, word in enumerate(WORDS)}
NOTHING = -1
OPENING_SLOTS, OBJECT_SLOTS, JOINT_SLOTS = 3, 4, 4
FIRST = OPENING_SLOTS
JOINT = FIRST + OBJECT_SLOTS
SECOND = JOINT + JOINT_SLOTS
BACKGROUND = SECOND + OBJECT_SLOTS
SLOTS = BACKGROUND + 6

NO_COLOUR = 0.12
NO_STYLE = 0.1
NO_SHAPE = 0.04
FRAGMENT = 0.08
BACKGROUND_ONLY = 0.01
NAME_BACKGROUND = 0.8
NAME_TONE = 0.9
NAME_PATTERN = 0.8
NAME_PLAIN = 0.25
OPENING = 0.4
RELATION = 0.4
HELD_OUT_ONE_IN = 16


@dataclass(frozen=True)
class Captions:
    """B captions: `words` (B, SLOTS) numbers in WORDS or NOTHING, and what they name. Per object (B, 2): shape, colour
    and style named; per caption (B,): tone, pattern named, and the relation stated (index in RELATIONS, else -1).
    """

    words: Tensor
    names_shape: Tensor
    names_colour: Tensor
    names_style: Tensor
    names_tone: Tensor
    names_pattern: Tensor
    relation: Tensor

    def __len__(self) -> int:
        return self.words.shape[0]

    def held_out(self) -> Tensor:
        """(B,) True for the one caption in sixteen whose exact words training never shows, whoever samples it."""
        places = _places(str(self.words.device))
        mixed = (self.words + 1) * (2654435761 % (1009 * places + 7919) + places * places)
        return (mixed.sum(1) * 48271 % 2147483647) % HELD_OUT_ONE_IN == 0

    def text(self, row: int) -> str:
        """One caption as text."""
        return join_words(self.words[row])


def join_words(numbers: Tensor) -> str:
    """The text of one row of word numbers; a comma follows its word without a space."""
    return " ".join(WORDS[n] for n in numbers.tolist() if n != NOTHING).replace(" ,", ",")


# Tables live on the device once: a table copied there in each step would stop the GPU each time.
@lru_cache(maxsize=8)
def _phrases(texts: tuple[str, ...], slots: int, device: str) -> Tensor:
    """(phrases, slots) word numbers, filled up with NOTHING."""
    rows = [[NUMBER[w] for w in text.split()] for text in texts]
    return torch.tensor([row + [NOTHING] * (slots - len(row)) for row in rows], device=device)


@lru_cache(maxsize=32)
def _numbers(words: tuple[str, ...], device: str) -> Tensor:
    return torch.tensor([NUMBER[w] for w in words], device=device)


@lru_cache(maxsize=8)
def _vowels(device: str) -> Tensor:
    return torch.tensor([w[0] in "aeiou" for w in WORDS], device=device)


@lru_cache(maxsize=8)
def _plain_joints(device: str) -> Tensor:
    """Joints without a relation, "and" more often than the others."""
    return torch.tensor([0, 0, 0, 0, 1, 2, 3], device=device)


@lru_cache(maxsize=8)
def _places(device: str) -> Tensor:
    return torch.arange(1, SLOTS + 1, device=device)


def _article(following: Tensor) -> Tensor:
    """The number of "a" or "an" for the word that follows, NOTHING before nothing."""
    vowel = _vowels(str(following.device))
    article = torch.where(vowel[following.clamp(min=0)], NUMBER["an"], NUMBER["a"])
    return torch.where(following == NOTHING, NOTHING, article)


def _first_word(*slots: Tensor) -> Tensor:
    """The first slot that holds a word, row by row."""
    first = slots[-1]
    for slot in reversed(slots[:-1]):
        first = torch.where(slot == NOTHING, first, slot)
    return first


def write_captions(scenes: SceneBatch, generator: torch.Generator) -> Captions:
    """One caption per scene, on the scenes' device; `generator` lives there too."""
    device, batch = scenes.count.device, len(scenes)
    where = str(device)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    double = scenes.count == 2
    here = torch.stack([torch.ones_like(double), double], 1)
    form = draw(batch)
    background_only = form < BACKGROUND_ONLY
    # Only single scenes are called by a fragment, so that naming one thing draws one thing.
    fragment = ~background_only & (form < BACKGROUND_ONLY + FRAGMENT) & ~double
    here = here & ~background_only[:, None]

    names_style = here & (scenes.style > 0) & (draw(batch, 2) >= NO_STYLE)
    names_colour = here & (draw(batch, 2) >= NO_COLOUR)
    names_shape = here & (draw(batch, 2) >= NO_SHAPE)
    # A fragment is what people type as an edit: "star", "red star", "blue", "striped".
    bare = draw(batch)
    names_shape[:, 0] &= ~(fragment & (bare < 0.25))
    names_colour[:, 0] &= ~(fragment & (bare > 0.75))
    # A fragment without any word would be the empty caption.
    names_shape[:, 0] |= fragment & ~names_colour[:, 0] & ~names_style[:, 0]

    shape = torch.where(names_shape, _numbers(SHAPES, where)[scenes.shape], NOTHING)
    general = torch.where(draw(batch, 2) < 0.5, NUMBER["shape"], NUMBER["object"])
    unnamed = here & ~names_shape & ~fragment[:, None]
    shape = torch.where(unnamed, general, shape)
    colour = torch.where(names_colour, _numbers(COLOURS, where)[scenes.colour], NOTHING)
    style = torch.where(names_style, _numbers(STYLES, where)[scenes.style], NOTHING)
    article = torch.where(fragment[:, None], NOTHING, _article(_first_word(style, colour, shape)))
    objects = torch.stack([article, style, colour, shape], 2)

    named = (draw(batch) < NAME_BACKGROUND) & ~fragment | background_only
    names_tone = named & (draw(batch) < NAME_TONE)
    pattern_share = torch.where(scenes.pattern == 0, NAME_PLAIN, NAME_PATTERN)
    names_pattern = named & ((draw(batch) < pattern_share) | ~names_tone)
    tone = torch.where(names_tone, _numbers(TONES, where)[scenes.tone], NOTHING)
    plain = torch.where(names_pattern & (scenes.pattern == 0), NUMBER["plain"], NOTHING)
    pattern = torch.where(names_pattern & (scenes.pattern > 0), _numbers(PATTERNS, where)[scenes.pattern], NOTHING)
    comma = draw(batch) < 0.25
    start = torch.where(comma, NUMBER[","], NUMBER["on"])
    start = torch.where(named & ~background_only, start, NOTHING)
    article = _article(_first_word(plain, tone, pattern))
    article = torch.where(named & ~(comma & ~background_only), article, NOTHING)
    closing = torch.where(named, NUMBER["background"], NOTHING)
    behind = torch.stack([start, article, plain, tone, pattern, closing], 1)

    seen = relation_of(scenes.x, scenes.y)
    related = double & ~background_only & (seen >= 0) & (draw(batch) < RELATION)
    plain_joint = _plain_joints(where)[(draw(batch) * 7).long()]
    beside = (seen < 2) & (draw(batch) < 0.5)
    stated = torch.where(beside, len(JOINTS) - 2 + seen, 4 + seen)
    joint = _phrases(JOINTS, JOINT_SLOTS, where)[torch.where(related, stated, plain_joint)]
    joint = torch.where((double & ~background_only)[:, None], joint, NOTHING)

    opened = (draw(batch) < OPENING) & ~fragment & ~background_only
    opening = _phrases(OPENINGS, OPENING_SLOTS, where)[1 + (draw(batch) * (len(OPENINGS) - 1)).long()]
    opening = torch.where(opened[:, None], opening, NOTHING)

    words = torch.cat([opening, objects[:, 0], joint, objects[:, 1], behind], 1)
    relation = torch.where(related, seen, NOTHING)
    return Captions(words, names_shape, names_colour, names_style, names_tone, names_pattern, relation)


def describe(scene: Scene, *, background: bool = False, relation: str | None = None) -> str:
    """The plainest full caption of a scene: every object with style and colour, joined by "and" or a relation."""
    noun = [" ".join([*([o.style] if o.style != "plain" else []), o.colour, o.shape]) for o in scene.objects]
    noun = [("an " if n[0] in "aeiou" else "a ") + n for n in noun]
    text = f" {relation or 'and'} ".join(noun)
    if not background:
        return text
    return f"{text} on a {scene.tone}" + (f" {scene.pattern}" if scene.pattern != "plain" else "") + " background"
