"""Whose rows a call of the UNet carries, told by the embeddings in them: pipelines order their batches as they like."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib_ebca.attention.kept import Stamp, stamp
from lib_ebca.attention.picture import Rows

NONE_KNOWN = (
    "EBCA was not applied: no row that the UNet was given carries an embedding that a prompt of the call was encoded "
    "to, as it was encoded."
)
SEVERAL = "EBCA was not applied: the call encoded several prompts, and nothing says which of them the plan is for."
SOME_UNKNOWN = "Rows that carry another embedding than a prompt of the call were left as they are."


class Carried:
    """The embeddings that the prompts of one pipeline call were encoded to, found again in the UNet's batches.

    Args:
        contexts: (P, T, D), one for each picture.
        negatives: (P, T, D), or None without guidance.
        superseded: contexts of earlier encodings of which no pass has come yet: a call that encodes several prompts
            without saying which of them is drawn.
        copies: how often each of the contexts holds an encoding, and each of the negatives.
    """

    def __init__(
        self,
        contexts: Tensor,
        negatives: Tensor | None,
        superseded: Sequence[Tensor] = (),
        copies: tuple[int, int] = (1, 1),
    ) -> None:
        self.contexts, self._negatives, self.superseded = contexts, negatives, tuple(superseded)
        self._copies = copies
        self._seen: Tensor | None = None
        self._stamp: Stamp | None = None
        self._found: tuple[Rows | None, str | None] = (None, NONE_KNOWN)

    def rows(self, given: Tensor) -> tuple[Rows | None, str | None]:
        """Whose rows a batch of contexts, (B, T, D), holds, and a sentence for the user where not all are known.

        A row of nobody's belongs to picture number P. Rows are None where the plan must not act at all. What was found
        for a tensor stays so when somebody changes it in place, for its rows are in their places still.
        """
        now = stamp(given)
        known = given is self._seen and now is not None and (now == self._stamp or self._found[0] is not None)
        if not known:
            self._found = self._find(given)
        self._seen, self._stamp = given, now
        return self._found

    def _find(self, given: Tensor) -> tuple[Rows | None, str | None]:
        pictures = len(self.contexts)
        own, negative = _same(given, self.contexts, pictures), _same(given, self._negatives, pictures)
        if not any(map(any, own)) and not any(map(any, negative)):
            return None, NONE_KNOWN
        found = [_owner(row, own[row], negative[row], given.shape[0]) for row in range(given.shape[0])]
        sides = tuple(side for _, side in found)
        copies = tuple(self._copies[0 if side else 1] for side in sides) if self._copies != (1, 1) else ()
        rows = Rows(tuple(picture for picture, _ in found), sides, copies)
        nobodys = [row for row, picture in enumerate(rows.picture) if picture == pictures]
        if any(any(map(any, _same(given[nobodys], each, len(each)))) for each in self.superseded):
            return None, SEVERAL
        return rows, SOME_UNKNOWN if nobodys else None


def complete(rows: Rows, pictures: int) -> bool:
    """Whether every picture has a conditional row, and no row is nobody's."""
    own = {picture for picture, conditional in zip(rows.picture, rows.conditional, strict=True) if conditional}
    return own == set(rows.picture) == set(range(pictures))


def _owner(row: int, own: Sequence[bool], negative: Sequence[bool], batch: int) -> tuple[int, bool]:
    """Picture and side of a row that equals some of the pictures' contexts, and some of their negatives.

    Equal prompts are told apart by their place, in diffusers' usual order: picture by picture, unconditional ones
    first.
    """
    pictures = len(own)
    usual = row % pictures
    if own[usual] or negative[usual]:
        conditional = row >= pictures or batch <= pictures if own[usual] and negative[usual] else own[usual]
        return usual, conditional
    for side, matches in ((True, own), (False, negative)):
        if any(matches):
            return matches.index(True), side
    return pictures, False


def _same(given: Tensor, contexts: Tensor | None, pictures: int) -> list[list[bool]]:
    """Whether each row of ``given`` is each of the contexts: B lists of P."""
    if contexts is None or contexts.shape[1:] != given.shape[1:]:
        return [[False] * pictures for _ in range(given.shape[0])]
    contexts = contexts.to(given.device, given.dtype)
    same = torch.stack([(given == context).flatten(1).all(1) for context in contexts], 1)
    found: list[list[bool]] = same.tolist()
    return found
