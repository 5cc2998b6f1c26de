"""Whose rows a call of the UNet carries, told from the order in which the WebUI's denoiser sends them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lib_ebca.attention.picture import Rows


class RowLedger:
    """One call of the WebUI's denoiser: conditional rows first, image by image, then the unconditional ones.

    They arrive in one call of the UNet or in several, always in this order; the unconditional ones may be left out.
    With ``AND`` an image has several conditional rows; each of them is a picture of its own to the cascade.

    Args:
        repeats: the number of conditional rows of each image.
        sides: how many unconditional rows follow for each image: 1, or 2 for models that edit by instruction.
    """

    def __init__(self, repeats: Sequence[int], sides: int = 1) -> None:
        firsts = [sum(repeats[:index]) for index in range(len(repeats))]
        conditional = sum(repeats)
        self._pictures = (*range(conditional), *firsts * sides)
        self._conditional = (True,) * conditional + (False,) * (len(repeats) * sides)
        self._taken = 0
        self._whole: Tensor | None = None
        self._prompts: list[Tensor] = []

    def take(self, context: Tensor) -> Rows | None:
        """The rows of the next call, or None if they cannot be known.

        A full set of rows that comes again with the same context is a host that runs the network several times for one
        step (tiles). More rows than the step has left, of which each reads what a prompt of the step was encoded to,
        are a call beside the step's own (perturbed guidance, which sends the prompts on either side): all of them are
        conditional.

        Args:
            context: (B, T, D), what the call's rows read.
        """
        count, total = len(context), len(self._pictures)
        if self._taken == total and count == total and self._whole is not None and torch.equal(self._whole, context):
            self._taken, self._prompts = 0, []
        start, end = self._taken, self._taken + count
        if end > total:
            return self._beside(context)
        if count == total:
            self._whole = context
        self._prompts += [row for row, asked in zip(context, self._conditional[start:end], strict=True) if asked]
        self._taken = end
        return Rows(self._pictures[start:end], self._conditional[start:end])

    def _beside(self, context: Tensor) -> Rows | None:
        conditional = sum(self._conditional)
        if len(self._prompts) < conditional:
            return None
        pictures = []
        for place, row in enumerate(context):
            # Prompts that differ in their directives alone read the same: then the place decides.
            order = (place % conditional, *range(conditional))
            found = next((picture for picture in order if _begins_as(self._prompts[picture], row)), None)
            if found is None:
                return None
            pictures.append(found)
        return Rows(tuple(pictures), (True,) * len(pictures), beside=True)


def _begins_as(whole: Tensor, row: Tensor) -> bool:
    """Whether a context (T, D) is another, or that without the host's padding."""
    return len(row) <= len(whole) and torch.equal(whole[: len(row)], row)
