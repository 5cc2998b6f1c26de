"""Head relevance vectors: how much each cross-attention head cares for a concept, measured and applied.

Park et al., "Cross-attention head position patterns can align with human visual concepts in text-to-image generative
models", ICLR 2025. At each layer and step every head votes for the concept whose word its pixels look at most; a
concept's vector is its share of the votes of each head, scaled to a mean of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

START = -1
"""Owner of a column that belongs to no concept but takes part in the softmax: the start of the text."""
PADDING = -2
"""Owner of a column that is not there."""

SDXL_CLAMP = 9.0
"""Where the authors cut SDXL's relevances, of which the largest is 66."""


def similarity(query: Tensor, key: Tensor, owner: Tensor, concepts: int, scale: float | None = None) -> Tensor:
    """How much the pixels of each head look at each concept's word.

    The softmax runs over all columns of all words, the start of the text included; its mean over the pixels is taken
    in float32 at least, and then its mean over each word's own columns.

    Args:
        query: (R, h, N, d).
        key: (R, h, L, d), of the words set one behind the other.
        owner: (R, L), the number of the concept that each column belongs to, or START or PADDING.
        concepts: C, their number.
        scale: beta; None is 1 / sqrt(d).

    Returns:
        (R, h, C), mean probabilities.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = scale * query @ key.transpose(-1, -2)
    hidden = (owner == PADDING)[:, None, None, :]
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32)).masked_fill(hidden, -torch.inf)
    looked = scores.softmax(-1).mean(-2)
    members = (owner[..., None] == torch.arange(concepts, device=owner.device)).to(looked.dtype)
    return looked @ (members / members.sum(1, keepdim=True).clamp(min=1))


def votes(similar: Tensor) -> Tensor:
    """One vote of each head for the concept it looks at most: (..., h, C) of similarities to (..., h, C), one-hot."""
    return torch.zeros_like(similar).scatter_(-1, similar.argmax(-1, keepdim=True), 1.0)


def ranking(counts: Tensor, pseudo_count: float = 0.0) -> Tensor:
    """The share of each head's votes that a concept got.

    Args:
        counts: (C, H), votes; each head has cast as many as the others.
        pseudo_count: votes that every concept gets of every head besides, so that rare concepts, whose rows are noise
            blown up, come nearer to 1 everywhere.

    Returns:
        (C, H), whose columns sum to 1; a head that never voted has equal shares.
    """
    filled = counts.to(torch.float64) + pseudo_count
    cast = filled.sum(0, keepdim=True)
    return torch.where(cast > 0, filled / cast.clamp(min=1e-300), torch.full_like(filled, 1 / len(filled)))


def relevance(counts: Tensor, pseudo_count: float = 0.0) -> Tensor:
    """Head relevance vectors of votes, as published: each row scaled to a mean of 1.

    Args:
        counts: (C, H).
        pseudo_count: as in :func:`ranking`.

    Returns:
        (C, H) in float64; a concept that nobody voted for is 1 everywhere.
    """
    shares = ranking(counts, pseudo_count)
    total = shares.sum(1, keepdim=True)
    return torch.where(total > 0, counts.shape[1] * shares / total.clamp(min=1e-300), torch.ones_like(shares))


def head_factors(
    vectors: Tensor, weights: Mapping[int, float], clamp: float | None = None, floor: float | None = None
) -> Tensor:
    """What each head's probabilities of some words are multiplied by.

    ``{color: 1}`` strengthens a concept, ``{color: 2, plants: -1}`` takes the wrong meaning of an ambiguous word away
    (the authors' SD-HRV).

    Args:
        vectors: (C, H), relevances.
        weights: a number for each concept, by its row.
        clamp: largest relevance that counts.
        floor: smallest relevance that counts.

    Returns:
        (H,), in the vectors' own precision, in which the authors round it too.
    """
    total = vectors.new_zeros(vectors.shape[1])
    for row, weight in weights.items():
        kept = vectors[row] if clamp is None else vectors[row].clamp(max=clamp)
        total = total + weight * (kept if floor is None else kept.clamp(min=floor))
    return total


def weakened_factors(order: Sequence[int], count: int, factor: float, heads: int) -> Tensor:
    """Ordered weakening: ``factor`` for the first ``count`` heads of an order, 1 for the others.

    Args:
        order: columns of heads, the first to be weakened first.
        count: how many.
        factor: -2 in the published analysis.
        heads: H.

    Returns:
        (H,).
    """
    factors = torch.ones(heads, dtype=torch.float64)
    factors[list(order[:count])] = factor
    return factors


def most_relevant_first(vector: Tensor) -> list[int]:
    """Columns of a concept's vector, (H,), the largest first; equal ones in the order of the heads."""
    return torch.sort(vector, descending=True, stable=True).indices.tolist()


def least_relevant_first(vector: Tensor) -> list[int]:
    """Columns of a concept's vector, (H,), the smallest first; equal ones in the order of the heads."""
    return torch.sort(vector, stable=True).indices.tolist()
