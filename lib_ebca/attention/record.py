"""Energies and attention maps of a pass, kept if asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.attention.energy import conditional_energy, likelihood_energy, merge_heads, prior_energy


@dataclass(frozen=True)
class EnergyRecord:
    """The energies of one layer at one evaluation, before its update, one number for each picture.

    Attributes:
        step: number of the evaluation within the pass.
        layer: number of the layer in the order of execution.
        name: the layer's name in its host.
        likelihood: E(Q; K), mean over heads and pixels.
        conditional: E(K; Q), mean over heads, sum over tokens.
        prior: E(K) of the keys with their heads merged, the paper's form.
    """

    step: int
    layer: int
    name: str
    likelihood: tuple[float, ...]
    conditional: tuple[float, ...]
    prior: tuple[float, ...]


class AttentionMaps:
    """How much each pixel looks at each token: softmax over tokens, mean over heads, layers and evaluations.

    Layers are kept by their size; :meth:`map` answers from the finest.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[int, int], Tensor] = {}
        self._counts: dict[tuple[int, int], int] = {}

    def add(self, probabilities: Tensor, size: tuple[int, int]) -> None:
        """Take in one layer's (pictures, N, T) at ``size`` = height, width."""
        kept = probabilities.detach().float().cpu()
        self._sums[size] = self._sums[size] + kept if size in self._sums else kept
        self._counts[size] = self._counts.get(size, 0) + 1

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The sizes that were seen, finest first."""
        return tuple(sorted(self._sums, key=lambda size: -size[0] * size[1]))

    def map(self, picture: int, rows: Sequence[int], size: tuple[int, int] | None = None) -> Tensor:
        """The heat of some rows of the context over one picture: (h, w), their probabilities summed, in [0, 1].

        Args:
            picture: number of the picture in the batch.
            rows: token rows, for instance those of one word.
            size: one of :attr:`sizes`; the finest if not given.

        Raises:
            ValueError: nothing was recorded.
        """
        if not self._sums:
            raise ValueError("no attention maps were recorded: ask for them before the pass")
        size = self.sizes[0] if size is None else size
        mean = self._sums[size][picture] / self._counts[size]
        return mean[:, list(rows)].sum(-1).view(size)


class Recorder:
    """Collects what the layers of a cascade show.

    Args:
        energies: keep an :class:`EnergyRecord` for each layer and evaluation.
        maps: keep the attention of the pixels to the tokens.
    """

    def __init__(self, energies: bool = False, maps: bool = False) -> None:
        self.energies: list[EnergyRecord] = []
        self.maps = AttentionMaps()
        self._keep_energies = energies
        self._keep_maps = maps

    def wants(self, size: tuple[int, int] | None) -> bool:
        """Whether a layer of that size is to be shown: every one is."""
        return self._keep_energies or (self._keep_maps and size is not None)

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
        """Record one layer.

        Args:
            step: number of the evaluation within the pass.
            layer: number of the layer.
            name: its name in the host.
            query: (B, heads, N, d).
            key: (B, heads, T, d).
            scale: beta.
            size: height and width of the layer; None if they are not known, which leaves the layer out of the maps.
            rows: the conditional row of each picture.
        """
        chosen = torch.tensor(list(rows), device=query.device)
        query, key = query.index_select(0, chosen).float(), key.index_select(0, chosen).float()
        if self._keep_energies:
            likelihood = likelihood_energy(query, key, scale).mean((1, 2))
            conditional = conditional_energy(query, key, scale).mean(1).sum(-1)
            prior = prior_energy(merge_heads(key))
            numbers = torch.stack((likelihood, conditional, prior)).tolist()
            self.energies.append(EnergyRecord(step, layer, name, *(tuple(row) for row in numbers)))
        if self._keep_maps and size is not None:
            scores = scale * query @ key.transpose(-1, -2)
            self.maps.add(F.softmax(scores, dim=-1).mean(1), size)
