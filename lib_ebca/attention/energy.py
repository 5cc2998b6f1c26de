"""The mathematics of energy-based cross-attention: energies, the context update (BCU) and composition (CACAO).

Pure functions on tensors, closed form, no autograd. Symbols and equations follow Park et al., "Energy-Based Cross
Attention for Bayesian Context Update in Text-to-Image Diffusion Models" (NeurIPS 2023); N is the number of query
pixels, T of context tokens, d the width of a head, C = heads x d the width of the layer, D the width of the text.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PRIOR_SCALE = {"published": 1.0, "paper": 0.5}
"""Factor of |k|^2 inside the prior's softmax: the paper writes 1/2 |k|^2, the published code leaves the half out."""


def split_heads(states: Tensor, heads: int) -> Tensor:
    """(B, L, C) to (B, heads, L, d), a view wherever the input allows one."""
    batch, length, width = states.shape
    return states.view(batch, length, heads, width // heads).transpose(1, 2)


def merge_heads(states: Tensor) -> Tensor:
    """(B, heads, L, d) to (B, L, C)."""
    batch, heads, length, width = states.shape
    return states.transpose(1, 2).reshape(batch, length, heads * width)


def likelihood_energy(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """Energy of each pixel's query given the context: E(Q; K), Eq. 4 with alpha = 0.

    Args:
        query: (..., N, d).
        key: (..., T, d).
        scale: beta, usually 1 / sqrt(d).

    Returns:
        (..., N): 1/2 |q_i|^2 - logsumexp_j(beta q_i . k_j).
    """
    scores = scale * query @ key.transpose(-1, -2)
    return 0.5 * query.square().sum(-1) - scores.logsumexp(-1)


def conditional_energy(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """Energy of each token's key given the picture's queries: the terms of E(K; Q), Eq. 8.

    Returns:
        (..., T): -logsumexp_i(beta k_j . q_i); their sum over the tokens is E(K; Q).
    """
    scores = scale * key @ query.transpose(-1, -2)
    return -scores.logsumexp(-1)


def prior_energy(key: Tensor, prior: str = "paper") -> Tensor:
    """Energy of the context on its own, which keeps one token's norm from running away: E(K), Eq. 6.

    Args:
        key: (..., T, d), or (..., T, C) for the heads merged.
        prior: "paper", logsumexp_j(1/2 |k_j|^2), or "published", 1/2 logsumexp_j(|k_j|^2): the energy whose
            gradient the published code follows.

    Returns:
        (...).
    """
    norms = key.square().sum(-1)
    factor = PRIOR_SCALE[prior]
    return (0.5 / factor) * (factor * norms).logsumexp(-1)


def picture_pull(query: Tensor, key: Tensor, scale: float | None = None, pixel_weight: Tensor | None = None) -> Tensor:
    """What the picture asks each token to become: the attention part of the update (Theorem 1, first term).

    It is attention with query and key exchanged and the queries as values, so a fused kernel computes it without
    an N x T matrix. Up to the factor beta, which gamma_attn absorbs, it is minus the gradient of
    :func:`conditional_energy` in the key.

    Args:
        query: (B, heads, N, d).
        key: (B, heads, T, d).
        scale: beta; None is 1 / sqrt(d).
        pixel_weight: (B, N) in [0, 1], how much each pixel pulls; the softmax still runs over every pixel.

    Returns:
        (B, T, C), the heads merged.
    """
    pulled = query if pixel_weight is None else query * pixel_weight[:, None, :, None].to(query.dtype)
    return merge_heads(F.scaled_dot_product_attention(key, query, pulled, scale=scale))


def prior_weights(key: Tensor, prior_scale: float | Tensor | None = None, token_bias: Tensor | None = None) -> Tensor:
    """Share of each token in the prior's pull back to zero (Theorem 1, second term).

    Computed in float32 at least: |k|^2 over all heads can pass the largest float16.

    Args:
        key: (B, T, C), the heads merged.
        prior_scale: a value of :data:`PRIOR_SCALE`, or one per row, (B, 1); None is the published 1.
        token_bias: (B, T), added to the exponents: a large negative number for tokens that are masked out.

    Returns:
        (B, T), summing to one over the tokens, float32 or float64.
    """
    wide = torch.promote_types(key.dtype, torch.float32)
    # One kernel, widening included; a square and a sum would store (B, T, C) in between.
    norms = torch.linalg.vector_norm(key, dim=-1, dtype=wide).square()
    exponents = norms if prior_scale is None else norms * prior_scale
    return torch.softmax(exponents if token_bias is None else exponents + token_bias.to(exponents.dtype), dim=-1)


def key_step(
    pull: Tensor | None,
    key: Tensor,
    gamma_attn: float | Tensor | None,
    gamma_norm: float | Tensor | None,
    weights: Tensor | None,
) -> Tensor:
    """One gradient step down the posterior energy E(K; Q) + E(K), as seen in the keys.

    Args:
        pull: (B, T, C) from :func:`picture_pull`, or None for the prior alone.
        key: (B, T, C), the heads merged.
        gamma_attn: step size of the pull, required with it; a tensor broadcasts to (B, T, 1) and may hold the boosts of
            words.
        gamma_norm: step size of the prior, None for the pull alone; a tensor broadcasts to (B, 1, 1).
        weights: (B, T) from :func:`prior_weights`; required with ``gamma_norm``.

    Returns:
        (B, T, C): gamma_attn * pull - gamma_norm * weights * key, in float32 at least where the gammas are tensors of
        that type; times W_k it is the step of the context.
    """
    attracted = None if pull is None or gamma_attn is None else gamma_attn * pull
    if weights is None or gamma_norm is None:
        assert attracted is not None
        return attracted
    shares = gamma_norm * weights.unsqueeze(-1)
    return -shares * key if attracted is None else torch.addcmul(attracted, shares, key, value=-1)


def composition_weights(strengths: Sequence[float]) -> tuple[float, tuple[float, ...]]:
    """Weights of CACAO's average, Eq. 12: one and the signed strengths over 1 + their sum.

    Args:
        strengths: one signed alpha for each editorial prompt.

    Returns:
        The weight of the main output, and that of each editorial output; together they add up to one.

    Raises:
        ValueError: 1 + sum of strengths is not positive, so that the average has no meaning.
    """
    total = 1 + sum(strengths)
    if not total > 0:
        raise ValueError(f"the strengths of the edits add up to {total - 1:g}: it should be more than -1")
    return 1 / total, tuple(strength / total for strength in strengths)
