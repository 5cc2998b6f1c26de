"""The closed forms against autograd of the written energies, and what must not change them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lib_ebca.attention.energy import (
    PRIOR_SCALE,
    composition_weights,
    conditional_energy,
    key_step,
    likelihood_energy,
    merge_heads,
    picture_pull,
    prior_energy,
    prior_weights,
    split_heads,
)
from tests.tiny_attention import noise

SIZES = st.tuples(*(st.integers(1, most) for most in (3, 4, 20, 20, 6)))


def states(size: tuple[int, int, int, int, int]) -> tuple[Tensor, Tensor]:
    """Queries (B, heads, N, d) and keys (B, heads, T, d)."""
    batch, heads, pixels, tokens, width = size
    return 2 * noise(batch, heads, pixels, width, seed=4), 2 * noise(batch, heads, tokens, width, seed=5)


@given(SIZES, st.sampled_from(sorted(PRIOR_SCALE)), st.floats(0.05, 2))
@settings(max_examples=40, deadline=None)
def test_a_step_follows_the_gradient_of_the_energies(
    size: tuple[int, int, int, int, int], prior: str, scale: float
) -> None:
    query, start = states(size)
    to_k = noise(start.shape[1] * start.shape[3], 5, seed=6)
    context = noise(start.shape[0], start.shape[2], 5, seed=7).requires_grad_()
    keys = context @ to_k.T
    key = split_heads(keys, start.shape[1])
    # beta is absorbed by gamma_attn.
    energy = 0.3 * conditional_energy(query, key, scale).sum() / scale + 0.7 * prior_energy(keys, prior).sum()
    (gradient,) = torch.autograd.grad(energy, context)

    pull = picture_pull(query, key, scale)
    step = key_step(pull, keys, 0.3, 0.7, prior_weights(keys, PRIOR_SCALE[prior])) @ to_k
    torch.testing.assert_close(step, -gradient, rtol=1e-10, atol=1e-10)


def test_the_two_priors_differ_by_the_half_before_the_norm() -> None:
    keys = 0.4 * noise(2, 5, 8)
    norms = keys.square().sum(-1)
    torch.testing.assert_close(prior_energy(keys, "paper"), (0.5 * norms).exp().sum(-1).log())
    torch.testing.assert_close(prior_energy(keys, "published"), 0.5 * norms.exp().sum(-1).log())
    torch.testing.assert_close(prior_weights(keys, 0.5), (0.5 * norms).softmax(-1))
    assert not torch.allclose(prior_weights(keys, 0.5), prior_weights(keys, 1.0))


def test_each_row_may_have_its_own_prior() -> None:
    keys = 0.4 * noise(2, 5, 8)
    both = prior_weights(keys, torch.tensor([[0.5], [1.0]]))
    torch.testing.assert_close(both[0], prior_weights(keys, 0.5)[0])
    torch.testing.assert_close(both[1], prior_weights(keys, 1.0)[1])


@given(SIZES)
@settings(max_examples=20, deadline=None)
def test_attention_is_a_step_down_the_likelihood(size: tuple[int, int, int, int, int]) -> None:
    query, key = states(size)
    query.requires_grad_()
    scale = 0.7
    (gradient,) = torch.autograd.grad(likelihood_energy(query, key, scale).sum(), query)
    attended = (scale * query @ key.mT).softmax(-1) @ key
    torch.testing.assert_close(gradient, query - scale * attended, rtol=1e-10, atol=1e-10)


@given(SIZES)
@settings(max_examples=20, deadline=None)
def test_pull_is_attention_of_the_keys_to_the_queries(size: tuple[int, int, int, int, int]) -> None:
    query, key = states(size)
    over_pixels = (key @ query.mT * size[-1] ** -0.5).softmax(-1)
    torch.testing.assert_close(picture_pull(query, key), merge_heads(over_pixels @ query), rtol=1e-10, atol=1e-10)


@given(SIZES, st.floats(0, 3))
@settings(max_examples=20, deadline=None)
def test_the_pull_is_linear_in_the_mask(size: tuple[int, int, int, int, int], factor: float) -> None:
    query, key = states(size)
    first, second = (noise(size[0], size[2], seed=seed).abs() for seed in (8, 9))
    pulled = picture_pull(query, key, pixel_weight=first) + factor * picture_pull(query, key, pixel_weight=second)
    together = picture_pull(query, key, pixel_weight=first + factor * second)
    torch.testing.assert_close(together, pulled, rtol=1e-10, atol=1e-10)
    whole = picture_pull(query, key, pixel_weight=torch.ones_like(first))
    torch.testing.assert_close(whole, picture_pull(query, key), rtol=1e-10, atol=1e-10)


def test_a_masked_pixel_still_takes_its_share_of_the_softmax() -> None:
    query, key = states((1, 1, 2, 3, 4))
    weight = torch.tensor([[1.0, 0.0]])
    shares = (key @ query.mT / 2).softmax(-1)
    expected = shares[0, 0, :, :1] * query[0, 0, :1]
    torch.testing.assert_close(picture_pull(query, key, pixel_weight=weight)[0], expected)


@given(SIZES)
@settings(max_examples=20, deadline=None)
def test_the_order_of_pixels_and_of_tokens_means_nothing(size: tuple[int, int, int, int, int]) -> None:
    query, key = states(size)
    pixels = torch.randperm(size[2], generator=torch.Generator().manual_seed(0))
    tokens = torch.randperm(size[3], generator=torch.Generator().manual_seed(1))
    pull = picture_pull(query, key)
    torch.testing.assert_close(picture_pull(query[:, :, pixels], key), pull, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(picture_pull(query, key[:, :, tokens]), pull[:, tokens], rtol=1e-10, atol=1e-10)
    keys = merge_heads(key)
    torch.testing.assert_close(prior_weights(keys[:, tokens]), prior_weights(keys)[:, tokens])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_beyond_the_largest_float16(dtype: torch.dtype) -> None:
    keys = torch.zeros(1, 4, 16, dtype=dtype)
    keys[0, 1], keys[0, 2] = 200, 200
    assert keys.float().square().sum(-1).max() > 65504
    weights = prior_weights(keys)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, torch.tensor([[0, 0.5, 0.5, 0]]))
    step = key_step(None, keys, None, torch.full((1, 1, 1), 0.02), weights)
    torch.testing.assert_close(step[0, 1], torch.full((16,), -2.0))


def test_a_step_of_one_part_is_that_part() -> None:
    query, key = states((2, 3, 5, 4, 2))
    keys, pull = merge_heads(key), picture_pull(query, key)
    weights = prior_weights(keys)
    attracted, retreat = key_step(pull, keys, 0.3, None, None), key_step(None, keys, None, 0.7, weights)
    torch.testing.assert_close(attracted, 0.3 * pull)
    torch.testing.assert_close(attracted + retreat, key_step(pull, keys, 0.3, 0.7, weights))
    assert torch.equal(attracted, key_step(pull, keys, 0.3, None, weights))
    assert torch.equal(attracted, key_step(pull, keys, 0.3, 0.7, None))
    assert torch.equal(retreat, key_step(pull, keys, None, 0.7, weights))


def test_heads_split_and_merged() -> None:
    states = noise(2, 5, 12)
    assert split_heads(states, 3).shape == (2, 3, 5, 4)
    assert torch.equal(merge_heads(split_heads(states, 3)), states)
    # A part of fused projections is no contiguous tensor.
    part = noise(2, 5, 24)[..., 12:]
    assert torch.equal(merge_heads(split_heads(part, 3)), part)


@given(st.lists(st.floats(-0.2, 2), max_size=4))
def test_composition_weights_add_up_to_one(strengths: list[float]) -> None:
    main, edits = composition_weights(strengths)
    assert main + sum(edits) == pytest.approx(1)
    assert [share / main for share in edits] == pytest.approx(strengths)


@pytest.mark.parametrize("strengths", [(-1.0,), (-0.5, -0.5), (0.5, -1.75), (float("nan"),)])
def test_composition_without_a_positive_denominator_is_refused(strengths: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="should be more than -1"):
        composition_weights(strengths)
