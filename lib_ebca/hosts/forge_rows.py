"""Whose rows a call of Forge's UNet carries, told from the marks that the host sends along.

A call is made of chunks, and a chunk is every image of the batch once. Its mark says which side of guidance it is on.
The host works through a step's chunks from the last to the first, in one call or, where memory is short, in several:
the unconditional one comes early, and the parts that ``AND`` divides a prompt into come last part first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lib_ebca.attention.picture import Rows

_CONDITIONAL = 0


class MarkLedger:
    """The calls of one step.

    Args:
        repeats: the number of conditional parts of each image.
        lengths: of the unconditional and of the conditional contexts as the prompts were encoded; the host repeats
            a shorter one to the length of a longer one in the same call.
    """

    def __init__(self, repeats: Sequence[int], lengths: tuple[int, int]) -> None:
        self._firsts = [sum(repeats[:index]) for index in range(len(repeats))]
        # The host drops what the other images have no counterpart for.
        self._parts = min(repeats)
        self._unconditional, self._conditional = lengths
        self._next = self._parts - 1

    def take(self, context: Tensor, options: Mapping[str, Any]) -> Rows | None:
        """The rows of the next call, or None if they cannot be known.

        Conditional chunks beyond the step's parts are a host that evaluates the network once more (perturbed or
        self-attention guidance): the parts begin anew. Whole multiples of a batch are tiles of the pictures.

        Args:
            context: (B, T, D), what the call's rows read.
            options: the call's ``transformer_options``.
        """
        marks, sigmas = options.get("cond_or_uncond"), options.get("sigmas")
        images = len(self._firsts)
        if not marks or not isinstance(sigmas, Tensor) or len(sigmas) != images or context.shape[0] % images:
            return None
        tiles, rest = divmod(context.shape[0], len(marks) * images)
        if rest or not tiles:
            return None
        pictures: list[int] = []
        sides: list[bool] = []
        copies: list[int] = []
        for chunk, mark in enumerate(marks):
            conditional = int(mark) == _CONDITIONAL
            part = self._part() if conditional else 0
            pictures += [first + part for first in self._firsts]
            sides += [conditional] * images
            copies += [_copies(context[chunk * images], self._length(conditional))] * images
        repeated = tuple(copies * tiles) if any(count > 1 for count in copies) else ()
        return Rows(tuple(pictures * tiles), tuple(sides * tiles), repeated)

    def _part(self) -> int:
        if self._next < 0:
            self._next = self._parts - 1
        part = self._next
        self._next -= 1
        return part

    def _length(self, conditional: bool) -> int:
        return self._conditional if conditional else self._unconditional


def _copies(context: Tensor, encoded: int) -> int:
    """How often a row's context (T, D) holds what was encoded; once if it was brought to its length otherwise."""
    copies, rest = divmod(len(context), encoded) if encoded else (1, 0)
    if rest or copies < 2:
        return 1
    stacked = context.unflatten(0, (copies, encoded))
    return copies if torch.equal(stacked, stacked[:1].expand_as(stacked)) else 1
