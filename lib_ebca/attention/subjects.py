"""The subjects of a picture: which tokens they are, and what is asked for them at each step of a pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lib_ebca.language.excite import Excite
from lib_ebca.language.subject_words import subject_words
from lib_ebca.language.windows import held
from lib_ebca.language.words import TokenisedPrompt
from lib_ebca.methods.attend_and_excite import Ask
from lib_ebca.methods.head_vectors import HeadVectors

THRESHOLDS = ((0.0, 0.05), (0.2, 0.5), (0.4, 0.8))
"""At these fractions of the pass a subject's score should be at least that: as published for 50 steps, 0, 10 and 20."""
USUAL_LEVEL = 2
"""16 x 16 of 64 x 64, as published; SDXL's 32 x 32 of 128 x 128."""
# 0.3 * 10 is 2.9999999999999996 in binary.
_ROUNDING = 1e-9


class LevelError(ValueError):
    """The model has no cross-attention layers of the size that is to be read."""


@dataclass(frozen=True)
class Subject:
    """One subject of one picture.

    Attributes:
        name: the word, for what is told of it.
        tokens: its rows of the context.
        scale: step size of the latent.
        until: fraction of the pass at which it is left alone.
        refine: whether its thresholds are insisted on.
        heads: for each layer (h,), how much each head counts, all together 1; empty: the heads of one level, all alike.
    """

    name: str
    tokens: tuple[int, ...]
    scale: float = 20.0
    until: float = 0.5
    refine: bool = True
    heads: tuple[Tensor, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Subjects:
    """The subjects of one picture, and the tokens that share the pixels of its maps with them.

    Attributes:
        subjects: none for a picture that is left alone.
        text: for each row of the context, whether it takes part in the softmax over the words.
    """

    subjects: tuple[Subject, ...] = ()
    text: tuple[bool, ...] = ()

    def asked(self, number: int, steps: int, since: int | None = None) -> Asked:
        """What is asked at evaluation ``number`` of ``steps``, counted from the start of the pass.

        ``since`` is the evaluation asked for before, where some lie between: those of a sampler that looks twice.
        """
        before = number - 1 if since is None else since
        acting = tuple(
            each
            for each in self.subjects
            if number < _edge(held(0.0, each.until, steps)[1], steps) or each.until == 1.0
        )
        wanted = [score for fraction, score in THRESHOLDS if before < _edge(fraction, steps) <= number]
        refined = tuple(each for each in acting if each.refine)
        target = 1.0 - max(wanted) if wanted and refined else None
        return Asked(acting, refined, Ask(target, bool(acting)))


@dataclass(frozen=True)
class Asked:
    """What is wanted of one picture at one step.

    Attributes:
        acting: the subjects that the ordinary step is for.
        refined: those that the refinement is for.
        ask: whether there are a refinement and a step.
    """

    acting: tuple[Subject, ...]
    refined: tuple[Subject, ...]
    ask: Ask


def subjects_of(
    excites: Sequence[Excite],
    tokenised: TokenisedPrompt | None,
    tokenizer: Any,
    padded_with_end: bool,
    vectors: HeadVectors | None = None,
) -> Subjects:
    """The subjects that a plan asks for in a prompt.

    Raises:
        WordError: a word that it does not hold.
        UnknownConceptError: a concept that is not among the vectors.
    """
    if not excites or tokenised is None:
        return Subjects()
    chunk = len(tokenised.tokens) // len(tokenised.lengths)
    found = tuple(
        Subject(
            word.name,
            word.rows,
            word.excite.scale,
            word.excite.until,
            word.excite.refine,
            _head_shares(word.excite.concept, vectors),
        )
        for word in subject_words(tokenised, excites, tokenizer)
        if word.excite.active
    )
    return Subjects(found, text_columns(tokenised.lengths, chunk, padded_with_end))


def _head_shares(concept: str | None, vectors: HeadVectors | None) -> tuple[Tensor, ...]:
    if concept is None or vectors is None:
        return ()
    relevance = vectors.relevance[vectors.row(concept)]
    return vectors.by_layer(relevance / len(relevance))


def text_columns(lengths: Sequence[int], chunk: int, padded_with_end: bool) -> tuple[bool, ...]:
    """The tokens that take part in the softmax over the words, chunk by chunk.

    As published: where a prompt is filled up with ends of text, as for SD 1, all but the beginning and the last place;
    where it is filled up with something else, as for SD 2 and SDXL, the words alone.

    Args:
        lengths: number of the prompt's tokens in each chunk, beginning and end not counted.
        chunk: places in a chunk, 77 for CLIP.
        padded_with_end: how prompts are filled up.
    """
    columns: list[bool] = []
    for length in lengths:
        last = chunk - 1 if padded_with_end else 1 + length
        columns += [1 <= place < last for place in range(chunk)]
    return tuple(columns)


def level_of(levels: Sequence[int], wanted: int | None = None) -> int:
    """How often the latent is halved in the layers that are read: twice, or as near to it as a model comes.

    Args:
        levels: how often it is halved in each of the model's cross-attention layers.
        wanted: another level than that.

    Raises:
        LevelError: the model has no such layers.
    """
    if wanted is None and levels:
        return min(levels, key=lambda level: (abs(level - USUAL_LEVEL), level))
    if wanted is None or wanted not in levels:
        has = ", ".join(str(level) for level in sorted(set(levels))) or "none"
        raise LevelError(
            f"level is {wanted}: it should be how often the latent's sides are halved in layers that the model has, "
            f"which are {has}"
        )
    return wanted


def _edge(fraction: float, steps: int) -> float:
    return fraction if math.isinf(fraction) else math.floor(fraction * steps + _ROUNDING)
