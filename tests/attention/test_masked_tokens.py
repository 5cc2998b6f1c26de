"""A text of which a host masks tokens out: these take no part in the main context's update, and the edits know none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.attention.energy import key_step, merge_heads, picture_pull, prior_weights, split_heads
from lib_ebca.attention.layer import attention
from lib_ebca.attention.picture import Picture, Values
from lib_ebca.attention.projections import TextMask
from tests.tiny_attention import HEADS, Scene, contexts, edit_contexts, layers, projections, scene

OUT = -1e4


def masked(given: Scene, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """A layer's output, and the main context that it leaves."""
    (layer,) = layers()

    def attend(context: Tensor, bias: Tensor | None) -> Tensor:
        query, key, value = (
            split_heads(states, HEADS)
            for states in (layer.to_q(given.hidden_states), layer.to_k(context), layer.to_v(context))
        )
        mask = None if bias is None else bias[:, None, None].expand(len(query), 1, 1, -1)
        return layer.to_out[0](merge_heads(F.scaled_dot_product_attention(query, key, value, mask)))

    text = None if bias is None else TextMask(bias, lambda context: attend(context, None))
    cascade = given.cascade()
    cascade.begin(given.rows, given.size)
    output = attention(
        projections(layer),
        cascade,
        given.hidden_states,
        given.context,
        lambda context: attend(context, bias),
        False,
        text,
    )
    return output, contexts(cascade)[None]


@pytest.mark.parametrize("values", [Values(0.2, 0.4), Values(0.2, 0.0, "paper"), Values(0.0, 0.4)])
def test_masked_tokens_are_as_if_they_were_not_there(values: Values) -> None:
    values = replace(values, strengths=(0.7,), edit_attn=(0.1,), edit_norm=(0.2,))
    given = scene([Picture(edit_contexts(1))], [values])
    bias = torch.tensor([[0.0] * 5 + [OUT] * 2], dtype=torch.float64)
    shorter = replace(given, context=given.context[:, :5])
    # The unconditional copy of the context is not masked, as the edits are not.
    conditional = given.rows.conditional.index(True)
    output, moved = masked(given, bias)
    expected, expected_moved = masked(shorter, None)
    torch.testing.assert_close(output[conditional], expected[conditional], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moved[:, :5], expected_moved, rtol=1e-12, atol=1e-12)
    assert torch.equal(moved[:, 5:], given.context[:, 5:])


def test_a_bias_that_is_no_mask_weakens_the_pull_as_it_weakens_the_attention() -> None:
    """And one above nought does not strengthen it."""
    given, bias = (
        scene([Picture()], [Values(0.2, 0.4)]),
        torch.tensor([[0.0, 1.0, -0.5, 0.0, 0.25, -2.0, 0.0]]).double(),
    )
    _, moved = masked(given, bias)
    (layer,) = layers()
    query, keys = split_heads(layer.to_q(given.hidden_states), HEADS), layer.to_k(given.context)
    pull = picture_pull(query, split_heads(keys, HEADS)) * torch.minimum(bias.exp(), torch.ones(1))[..., None]
    step = key_step(pull, keys, 0.2, 0.4, prior_weights(keys, None, bias)) @ layer.to_k.weight
    torch.testing.assert_close(moved, given.context + step, rtol=1e-12, atol=1e-12)
