"""Factors of the attention by head and token, fused into the values, against explicit matrices of probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import Attention
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.energy import composition_weights
from lib_ebca.attention.layer import FACTORS_LEFT_OUT
from lib_ebca.attention.picture import Picture, Rows, Timetable, TokenFactors, Values
from lib_ebca.attention.value_factors import value_factors
from tests.tiny_attention import HEADS, Scene, edit_contexts, evaluate, layers, scene

LAYERS, TOKENS = 2, 7

factor = st.floats(-4, 12, allow_nan=False)


@st.composite
def token_factors(draw: st.DrawFn) -> TokenFactors:
    tokens = tuple(draw(st.sets(st.integers(0, TOKENS - 1), min_size=1, max_size=4)))
    if draw(st.booleans()):
        return TokenFactors(tokens, draw(factor))
    numbers = [draw(st.lists(factor, min_size=HEADS, max_size=HEADS)) for _ in range(LAYERS)]
    return TokenFactors(tokens, heads=tuple(torch.tensor(each, dtype=torch.float64) for each in numbers))


@st.composite
def pictures(draw: st.DrawFn) -> tuple[list[Picture], list[list[Values]]]:
    """One to three pictures, each with factors, perhaps an edit and a mask, over two evaluations."""
    found, over = [], []
    for number in range(draw(st.integers(1, 3))):
        factors = tuple(draw(st.lists(token_factors(), max_size=3)))
        edited = draw(st.booleans())
        mask = torch.eye(4, dtype=torch.float64) if draw(st.booleans()) else None
        found.append(Picture(edit_contexts(int(edited), seed=40 + number), None, mask, factors))
        edits = ((0.7,), (0.0,), (0.0,)) if edited else ((), (), ())
        on = [tuple(draw(st.booleans()) for _ in factors) for _ in range(2)]
        over.append([Values(0.0, 0.0, "published", *edits, factors=now) for now in on])
    return found, over


def explicit(layer: Attention, index: int, given: Scene) -> Tensor:
    """The layer with every probability written out, row by row and head by head."""

    def split(states: Tensor) -> Tensor:
        return states.unflatten(-1, (HEADS, -1)).transpose(-2, -3)

    outputs = []
    for row, (owner, conditional) in enumerate(zip(given.rows.picture, given.rows.conditional, strict=True)):
        picture, values = given.pictures[owner], given.values[owner]
        query = split(layer.to_q(given.hidden_states[row]))
        read = [given.context[row], *(picture.edits if conditional else ())]
        shares = (1.0, ()) if len(read) == 1 else composition_weights(values.strengths)
        heads = torch.zeros(HEADS, query.shape[1], query.shape[2], dtype=torch.float64)
        for number, (context, share) in enumerate(zip(read, (shares[0], *shares[1]), strict=True)):
            key, value = split(layer.to_k(context)), split(layer.to_v(context))
            probabilities = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
            if conditional and number == 0:
                for factors, on in zip(picture.factors, values.factors, strict=True):
                    if on:
                        by_head = (
                            factors.heads[index]
                            if factors.heads
                            else torch.full((HEADS,), factors.factor, dtype=torch.float64)
                        )
                        for token in factors.tokens:
                            probabilities[:, :, token] *= by_head[:, None]
            heads += share * probabilities @ value
        outputs.append(layer.to_out[0](heads.transpose(0, 1).flatten(1)))
    return torch.stack(outputs)


@settings(max_examples=60, deadline=None)
@given(pictures(), st.booleans())
def test_the_fused_form_is_the_explicit_one(drawn: tuple[list[Picture], list[list[Values]]], guided: bool) -> None:
    found, over = drawn
    rows = Rows.guided(len(found)) if guided else Rows.plain(len(found))
    still = scene(found, [each[0] for each in over], rows, TOKENS)
    cascade = Cascade(found, [Timetable(tuple(each)) for each in over], layers=LAYERS)
    stack = layers(LAYERS)
    # Three evaluations with the same context: the third reads what the second kept.
    for number in range(3):
        now = replace(still, values=tuple(each[min(number, 1)] for each in over))
        outputs = evaluate(stack, cascade, now)
        for index, (layer, output) in enumerate(zip(stack, outputs, strict=True)):
            assert (output - explicit(layer, index, now)).abs().max() < 1e-12


def strengthened(on: bool = True, numbers: Sequence[float] = (2.0, 0.5, -1.0)) -> Scene:
    heads = tuple(torch.tensor(numbers, dtype=torch.float64) for _ in range(LAYERS))
    return scene([Picture(factors=(TokenFactors((2, 3), heads=heads),))], [Values(factors=(on,))])


def test_kept_values_hold_the_factors() -> None:
    given = strengthened()
    cascade = given.cascade(layers=LAYERS)
    stack = layers(LAYERS)
    asked = []
    for layer in stack:
        layer.to_v.register_forward_hook(lambda module, args, output: asked.append(1))
    outputs = [evaluate(stack, cascade, given) for _ in range(4)]
    # The first evaluation does not know yet that the context stays; the second keeps; the others ask nothing.
    assert len(asked) == 2 * LAYERS
    for later in outputs[1:]:
        assert all(torch.equal(first, again) for first, again in zip(outputs[0], later, strict=True))


def test_off_is_the_stock_layer_bit_for_bit() -> None:
    given = strengthened(on=False)
    (layer,) = layers(1)
    (output,) = evaluate([layer], given.cascade(layers=1), given)
    assert torch.equal(output, layer(given.hidden_states, given.context))


def test_unconditional_rows_are_left_alone() -> None:
    given = strengthened()
    (layer,) = layers(1)
    (output,) = evaluate([layer], given.cascade(layers=1), given)
    stock = layer(given.hidden_states, given.context)
    assert (output[0] - stock[0]).abs().max() < 1e-12
    assert (output[1] - stock[1]).abs().max() > 1e-3


@pytest.mark.parametrize("update", [0.0, 0.2])
def test_a_wrapped_layer_leaves_them_out_and_says_so(update: float) -> None:
    given = strengthened()
    given = replace(given, values=(replace(given.values[0], attn=update),))
    told: list[str] = []
    stack = layers(LAYERS)
    found = evaluate(stack, given.cascade(layers=LAYERS, tell=told.append), given, own=False)
    without = replace(given, values=(replace(given.values[0], factors=(False,)),))
    wanted = evaluate(stack, without.cascade(layers=LAYERS), without, own=False)
    assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
    assert set(told) == {FACTORS_LEFT_OUT}


def test_where_every_head_has_the_same_there_is_one_table_for_all_layers() -> None:
    given = scene(
        [Picture(factors=(TokenFactors((2,), 3.0), TokenFactors((2, 4), 0.5)))], [Values(factors=(True, True))]
    )
    found = value_factors(given.pictures, given.values, given.rows, given.context)
    assert found is not None
    (table,) = found.layers
    assert table.tolist() == [[[1.0]] * TOKENS, [[1.0], [1.0], [1.5], [1.0], [0.5], [1.0], [1.0]]]
    ones = torch.ones(2, TOKENS, 12)
    assert torch.equal(found.scaled(ones, 0), found.scaled(ones, 15))
    assert found.scaled(ones, 0)[1, :, 0].tolist() == table[1, :, 0].tolist()
    assert value_factors(given.pictures, [Values(factors=(False, False))], given.rows, given.context) is None


def test_tables_come_in_the_precision_of_the_pass() -> None:
    for dtype, wanted in (
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
    ):
        given = strengthened().to(dtype)
        found = value_factors(given.pictures, given.values, given.rows, given.context)
        assert found is not None
        assert [tuple(each.shape) for each in found.layers] == [(2, TOKENS, HEADS)] * LAYERS
        assert {each.dtype for each in found.layers} == {wanted}
