"""What the conditional rows look at in the layers of one size, kept within a graph of gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class EnoughRead(Exception):
    """The last layer that is read has been reached: the rest of the evaluation is not needed."""


class Watcher:
    """Takes a recorder's place in a cascade: the mean attention over the layers of one size, with gradients.

    Args:
        size: height and width of the layers that are read.
        last: number of the last layer of that size, where the evaluation ends by :class:`EnoughRead`.
    """

    def __init__(self, size: tuple[int, int], last: int) -> None:
        self.size = size
        self.half = False
        self._last = last
        self._sum: Tensor | None = None
        self._heads = 0
        self._closed = False

    def wants(self, size: tuple[int, int] | None) -> bool:
        """Whether a layer of that size is read."""
        return size == self.size

    def see(
        self,
        step: int,
        layer: int,
        name: str,
        query: Tensor,
        key: Tensor,
        scale: float,
        size: tuple[int, int] | None,
        rows: Sequence[int],
    ) -> None:
        """Add one layer's probabilities, as :meth:`Recorder.see` does. Raises EnoughRead at the last one."""
        chosen = torch.tensor(list(rows), device=query.device)
        query, key = (part.index_select(0, chosen) for part in (query, key))
        self.half = query.dtype == torch.float16
        if query.dtype != torch.float64:
            query, key = query.float(), key.float()
        probabilities = (scale * query @ key.transpose(-1, -2)).softmax(-1)
        total = probabilities.sum(1)
        # Under checkpointing the layers run again while the gradient is taken: what they show was counted already.
        if not self._closed:
            self._sum = total if self._sum is None else self._sum + total
            self._heads += probabilities.shape[1]
        if layer == self._last and not self._closed:
            raise EnoughRead

    def close(self) -> None:
        """The evaluation is over: layers that run again add nothing."""
        self._closed = True

    @property
    def mean(self) -> Tensor:
        """The mean over all heads of all layers seen, (rows, N, T), in float32 at least."""
        if self._sum is None:
            raise LookupError(
                "no cross-attention layer was read: the host does not lead its layers through the cascade"
            )
        return self._sum / self._heads
