"""Prompt-to-Prompt (Hertz et al., ICLR 2023): a picture that is drawn beside another one and follows its attention.

Published, every attention map is materialised, changed and multiplied with the values. Everything that is done to the
maps of the words is linear after the softmax: a column of the followed map is the source's map times a matrix plus a
share of its own map, so both go into the values and a fused kernel does the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.methods.alignment import Alignment

Span = tuple[float, float]
"""From and until, as fractions of a pass."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """A followed map at one moment: source map times ``route`` plus own map times ``own``.

    Attributes:
        route: (T_source, T_target).
        own: (T_target,).
    """

    route: Tensor
    own: Tensor

    @property
    def idle(self) -> bool:
        """Whether it is the own map and nothing else."""
        return not self.route.any() and bool((self.own == 1).all())

    @property
    def keeps(self) -> bool:
        """Whether anything of the own map is left."""
        return bool(self.own.any())


def window(span: Span, count: int) -> range:
    """The evaluations of a span among ``count``: from int(from count) to int(until count) - 1, as published."""
    return range(int(span[0] * count), int(span[1] * count))


def cross_windows(steps: int, length: int, default: Span, words: Iterable[tuple[Sequence[int], Span]]) -> Tensor:
    """When each column follows.

    Args:
        steps: S, sampling steps of the pass; the table has one row more, for PNDM's spare evaluation.
        length: T, columns.
        default: the window of every column.
        words: columns with a window of their own; later ones overwrite earlier ones.

    Returns:
        (S + 1, T) of 0 and 1 in float64.
    """
    table = torch.zeros(steps + 1, length, dtype=torch.float64)
    rows = window(default, steps + 1)
    table[rows.start : rows.stop] = 1.0
    for columns, span in words:
        rows = window(span, steps + 1)
        table[:, list(columns)] = 0.0
        table[rows.start : rows.stop, list(columns)] = 1.0
    return table


def self_window(span: Span, steps: int) -> range:
    """The evaluations at which the self-attention follows: published in S, where the words' windows count S + 1."""
    return window(span, steps)


def equaliser(length: int, words: Mapping[tuple[int, ...], float]) -> Tensor:
    """(T,): 1, and at the given columns their value; a column given twice keeps the last, as published."""
    factors = torch.ones(length, dtype=torch.float64)
    for columns, value in words.items():
        factors[list(columns)] = value
    return factors


def mixture(alignment: Alignment, window: Tensor, factors: Tensor | None = None, kept: Sequence[int] = ()) -> Mixture:
    """What a followed map is made of at one moment.

    Args:
        alignment: of the two prompts.
        window: (T,), 1 where a column follows now; elsewhere it is the own map's.
        factors: (T,), an equaliser: reweighting acts within the window, as published.
        kept: columns that keep their own map within the window too: the words that P2P-HRV strengthens.
    """
    route, own = alignment.route.clone(), alignment.own.clone()
    if kept:
        route[:, list(kept)], own[list(kept)] = 0.0, 1.0
    if factors is not None:
        route, own = route * factors, own * factors
    return Mixture(route * window, own * window + (1 - window))


def followed(source: Tensor, own: Tensor, mixture: Mixture) -> Tensor:
    """The followed map written out, (..., T_target), of maps (..., T_source) and (..., T_target)."""
    return source @ mixture.route.to(source) + own * mixture.own.to(own)


def blend_mask(source: Tensor, edit: Tensor, size: tuple[int, int], threshold: float = 0.3) -> Tensor:
    """Local blend: where the words of either prompt are looked at.

    Args:
        source: (h, w), the source's map of its words, summed over the evaluations so far.
        edit: (h, w), the edit's, of its followed maps.
        size: the latent's height and width.
        threshold: a share of each map's own maximum.

    Returns:
        (H, W), bool: 3 x 3 maximum, nearest resizing, above the threshold in either.
    """
    maps = F.max_pool2d(torch.stack([source, edit])[:, None], 3, stride=1, padding=1)
    maps = F.interpolate(maps, size)[:, 0]
    return (maps / maps.amax((1, 2), keepdim=True) > threshold).any(0)


def blended(source: Tensor, edit: Tensor, mask: Tensor) -> Tensor:
    """The edit's latent, (C, H, W), with the source's wherever the mask, (H, W), is off."""
    return source + mask.to(edit.dtype) * (edit - source)
