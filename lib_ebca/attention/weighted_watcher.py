"""Subjects that are read off all layers, each head as far as it cares for a concept (A&E-HRV)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lib_ebca.attention.subjects import Subject
from lib_ebca.attention.watcher import EnoughRead, Watcher
from lib_ebca.methods.head_weighted_maps import pooled


class WeightedWatcher(Watcher):
    """Takes a recorder's place in a cascade: the subjects' maps over all layers, pooled within each, with gradients.

    Subjects without a concept beside them are read as :class:`Watcher` does.

    Args:
        size: height and width of the layers that those are read off.
        last: number of the last of these layers.
        subjects: of each row.
        final: number of the last layer of all, where the evaluation ends by EnoughRead.
    """

    def __init__(self, size: tuple[int, int], last: int, subjects: Sequence[Sequence[Subject]], final: int) -> None:
        super().__init__(size, last)
        self._weights = [_by_layer([each for each in own if each.heads]) for own in subjects]
        self._plain = any(not each.heads for own in subjects for each in own)
        self._final = final
        self._pooled: dict[int, Tensor] = {}

    def wants(self, size: tuple[int, int] | None) -> bool:
        """All layers are read whose pixels are those of a halved latent."""
        return size is not None

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
        """Add one layer's maps. Raises EnoughRead at the last one."""
        assert size is not None
        if self._plain and super().wants(size):
            with suppress(EnoughRead):
                super().see(step, layer, name, query, key, scale, size, rows)
        self.half = query.dtype == torch.float16
        for place, (row, weights) in enumerate(zip(rows, self._weights, strict=True)):
            if not weights:
                continue
            # Of a layer's probabilities nothing is kept for the gradient: they are made again of its queries and keys.
            part: Tensor = checkpoint(
                _maps,
                query[row],
                key[row],
                scale,
                size,
                weights[layer],
                use_reentrant=False,
                preserve_rng_state=False,
            )
            if not self._closed:
                self._pooled[place] = self._pooled[place] + part if place in self._pooled else part
        if layer == self._final and not self._closed:
            raise EnoughRead

    def weighted(self, place: int) -> Tensor:
        """The attention to each token in the map of each subject of a row that has a concept, (S, side, side, T)."""
        return self._pooled[place]


def _by_layer(subjects: Sequence[Subject]) -> tuple[Tensor, ...]:
    """For each layer (S, h)."""
    return tuple(torch.stack(heads) for heads in zip(*(each.heads for each in subjects), strict=True))


def _maps(query: Tensor, key: Tensor, scale: float, size: tuple[int, int], weights: Tensor) -> Tensor:
    """One row's part of its subjects' maps, in float32 at least."""
    if query.dtype != torch.float64:
        query, key = query.float(), key.float()
    return pooled((scale * query @ key.transpose(-1, -2)).softmax(-1), size, weights)
