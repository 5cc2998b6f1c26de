"""Which tokens of one prompt are which of another: by words that take each other's place, or by words put in.

Prompt-to-Prompt (Hertz et al., ICLR 2023) calls the two "replace" and "refine". Positions are rows of the context;
a prompt may have several chunks (75 tokens with their start and end), which must be as many on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

NO_PARTNER = -1


class AlignmentError(ValueError):
    """The two prompts cannot be aligned in the way that was asked for; one sentence says which could."""


@dataclass(frozen=True)
class TokenRows:
    """A prompt as rows of its context.

    Attributes:
        ids: the tokens' numbers, padding included, T of them.
        words: the rows of each word, in the prompt's order.
        used: how many rows come before the padding: the end of the last chunk that holds a word counts.
        chunk: rows of a chunk.
    """

    ids: tuple[int, ...]
    words: tuple[tuple[int, ...], ...]
    used: int
    chunk: int

    def word(self, number: int) -> tuple[int, ...]:
        """The tokens of a word."""
        return tuple(self.ids[row] for row in self.words[number])


@dataclass(frozen=True, eq=False)
class Alignment:
    """What each column of a followed map is made of.

    Attributes:
        route: (T_source, T_target): a column of the target's map is the source's map times its column of this.
        own: (T_target,): how much of its own map a column keeps.
    """

    route: Tensor
    own: Tensor


def aligned(source: TokenRows, target: TokenRows, way: str = "auto", published: bool = False) -> Alignment:
    """Align two prompts.

    Args:
        source: the prompt that is followed.
        target: the prompt that follows.
        way: "replace", "refine", or "auto": replace where both have as many words.
        published: as the published code does it, its faults included.

    Raises:
        AlignmentError: "replace" with different numbers of words.
        ValueError: the contexts have different lengths, or ``way`` is unknown.
    """
    if len(source.ids) != len(target.ids):
        raise ValueError(f"the contexts have {len(source.ids)} and {len(target.ids)} rows: they should have as many")
    if way == "auto":
        way = "replace" if len(source.words) == len(target.words) else "refine"
    if way == "replace":
        route = published_replace_mapper(source, target) if published else replace_mapper(source, target)
        return Alignment(route, torch.zeros(len(target.ids), dtype=torch.float64))
    if way != "refine":
        raise ValueError(f"way is {way!r}: it should be auto, replace or refine")
    partners = refine_mapper(source, target, published)
    route = torch.zeros(len(source.ids), len(target.ids), dtype=torch.float64)
    for row, partner in enumerate(partners):
        if partner != NO_PARTNER:
            route[partner, row] = 1.0
    return Alignment(route, torch.tensor([float(partner == NO_PARTNER) for partner in partners], dtype=torch.float64))


def replace_mapper(source: TokenRows, target: TokenRows) -> Tensor:
    """Every word takes the place of the word with its number; what is no word stays where it is, counted within chunks.

    Words with as many tokens go token by token; otherwise every token of the source's word is spread evenly over the
    target's. Each row sums to 1, so that no attention is lost.

    Returns:
        (T_source, T_target) in float64.

    Raises:
        AlignmentError: the prompts have different numbers of words.
    """
    _refuse_other_counts(source, target)
    mapper = torch.zeros(len(source.ids), len(target.ids), dtype=torch.float64)
    for rows, columns in zip(source.words, target.words, strict=True):
        _spread(mapper, rows, columns)
    for rest, places in zip(_between(source), _between(target), strict=True):
        for row, column in zip_longest(rest, places):
            if row is None:
                # The last padding is shared by the columns that have no partner.
                shared = places[len(rest) - 1 :]
                mapper[rest[-1], shared] = 1.0 / len(shared)
                break
            mapper[row, places[-1] if column is None else column] = 1.0
    return mapper


def published_replace_mapper(source: TokenRows, target: TokenRows) -> Tensor:
    """The mapper of the published code (single chunk).

    After the last word that differs it writes (j, j) in place of (i, j): where the tokens of swapped words are not as
    many, the columns of all later words take the maps of other words.

    Raises:
        AlignmentError: the prompts have different numbers of words.
    """
    _refuse_other_counts(source, target)
    length = len(source.ids)
    mapper = torch.zeros(length, length, dtype=torch.float64)
    swapped = [
        (source.words[number], target.words[number])
        for number in range(len(source.words))
        if source.word(number) != target.word(number)
    ]
    i = j = 0
    while i < length and j < length:
        if swapped and swapped[0][0][0] == i:
            rows, columns = swapped.pop(0)
            _spread(mapper, rows, columns)
            i, j = i + len(rows), j + len(columns)
            continue
        mapper[i if swapped else j, j] = 1.0
        i, j = i + 1, j + 1
    return mapper


def refine_mapper(source: TokenRows, target: TokenRows, published: bool = False) -> tuple[int, ...]:
    """The source's row that each of the target's belongs to, NO_PARTNER for what was put in.

    Needleman-Wunsch over tokens: gap 0, match 1; a mismatch, -1 as published, never pays where gaps are free. Walking
    back prefers a step in the target, then in the source. Padding belongs to the padding of the same row; ``published``
    takes the same row even where the source, the longer of the two, still has a word there.
    """
    partners = _needleman_wunsch(source.ids[: source.used], target.ids[: target.used])
    last = len(source.ids) - 1
    padding = (row if published else min(max(row, source.used), last) for row in range(target.used, len(target.ids)))
    return (*partners, *padding)


def _needleman_wunsch(source: Sequence[int], target: Sequence[int]) -> list[int]:
    score = [[0] * (len(target) + 1) for _ in range(len(source) + 1)]
    for i, row in enumerate(source, 1):
        for j, column in enumerate(target, 1):
            score[i][j] = max(score[i][j - 1], score[i - 1][j], score[i - 1][j - 1] + (row == column))
    partners = [NO_PARTNER] * len(target)
    i, j = len(source), len(target)
    while i and j:
        if score[i][j] == score[i][j - 1]:
            j -= 1
        elif score[i][j] == score[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            partners[j] = i
    return partners


def _spread(mapper: Tensor, rows: Sequence[int], columns: Sequence[int]) -> None:
    if len(rows) == len(columns):
        mapper[list(rows), list(columns)] = 1.0
    else:
        mapper[torch.tensor(rows)[:, None], torch.tensor(columns)] = 1.0 / len(columns)


def _between(prompt: TokenRows) -> list[list[int]]:
    """The rows of each chunk that are no word: its start, its end, its padding."""
    words = {row for word in prompt.words for row in word}
    chunks = range(0, len(prompt.ids), prompt.chunk)
    return [[row for row in range(first, first + prompt.chunk) if row not in words] for first in chunks]


def _refuse_other_counts(source: TokenRows, target: TokenRows) -> None:
    if len(source.words) != len(target.words):
        raise AlignmentError(
            f"replace aligns word by word, and the prompts have {len(source.words)} and {len(target.words)} words: "
            "give as many, or align by refine"
        )
