"""One layer under a cascade: its equations, and what may be exchanged without changing them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_ebca.attention.energy import conditional_energy, prior_energy, split_heads
from lib_ebca.attention.picture import Picture, Rows, Values
from tests.tiny_attention import (
    HEADS,
    contexts,
    edit_contexts,
    evaluate,
    layers,
    scene,
    scenes,
)


@pytest.mark.parametrize("name", scenes())
@pytest.mark.parametrize("drift", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_fused_and_wrapped_are_one(name: str, drift: bool, dtype: torch.dtype, tolerance: float) -> None:
    given, stack = scenes()[name].to(dtype), layers(3, dtype)
    found = []
    for own in (True, False):
        cascade = given.cascade(layers=3, drift=drift)
        outputs = [evaluate(stack, cascade, given, own) for _ in range(2)][-1]
        found.append((outputs, contexts(cascade)))
    (fused, fused_contexts), (wrapped, wrapped_contexts) = found
    torch.testing.assert_close(fused, wrapped, rtol=tolerance, atol=tolerance)
    assert fused_contexts.keys() == wrapped_contexts.keys()
    for member, context in fused_contexts.items():
        torch.testing.assert_close(context, wrapped_contexts[member], rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("name", scenes())
def test_every_scene_differs_from_the_stock_layers(name: str) -> None:
    given, stack = scenes()[name], layers(2)
    acting = evaluate(stack, given.cascade(), given)
    stock = [layer(given.hidden_states, given.context) for layer in stack]
    assert not torch.allclose(acting[1], stock[1], atol=1e-3)


@pytest.mark.parametrize("prior", ["published", "paper"])
def test_the_context_goes_down_the_gradient_of_the_posterior_energy(prior: str) -> None:
    given = scene([Picture()], [Values(0.2, 0.4, prior)])
    (layer,) = layers()
    cascade = given.cascade()
    evaluate([layer], cascade, given)

    context = given.context.clone().requires_grad_()
    query = split_heads(layer.to_q(given.hidden_states), HEADS)
    keys = layer.to_k(context)
    pull = conditional_energy(query, split_heads(keys, HEADS), layer.scale).sum() / layer.scale
    (gradient,) = torch.autograd.grad(0.2 * pull + 0.4 * prior_energy(keys, prior).sum(), context)
    torch.testing.assert_close(contexts(cascade)[None], given.context - gradient, rtol=1e-12, atol=1e-12)


def test_the_average_written_out() -> None:
    given = scene([Picture(edit_contexts(2))], [Values(0.2, 0.4, "published", (0.7, -0.4), (0, 0), (0, 0))])
    stack = layers(2)
    outputs = evaluate(stack, given.cascade(), given)
    update_alone = replace(given, pictures=(Picture(),), values=(Values(0.2, 0.4),))
    main = evaluate(stack, update_alone.cascade(), update_alone)
    for layer, output, of_main in zip(stack, outputs, main, strict=True):
        first, second = (layer(given.hidden_states[1:], edit[None])[0] for edit in edit_contexts(2))
        torch.testing.assert_close(output[1], (of_main[1] + 0.7 * first - 0.4 * second) / 1.3, rtol=1e-12, atol=1e-12)
        # The unconditional row reads the unconditional embedding in every editorial term.
        unconditional = layer(given.hidden_states[:1], given.context[:1])[0]
        torch.testing.assert_close(output[0], (of_main[0] + 0.3 * unconditional) / 1.3, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(
    "values",
    [Values(), Values(0, 0, "paper", (0.0, 0.0), (0.1, 0.1), (0.1, 0.1))],
    ids=["gamma 0", "alpha 0"],
)
def test_a_plan_of_zeros_is_the_stock_layer_to_the_bit(values: Values, own: bool) -> None:
    given, stack = scene([Picture(edit_contexts(len(values.strengths)))], [values]).to(torch.float32), layers(2)
    stack = [layer.float() for layer in stack]
    outputs = evaluate(stack, given.cascade(), given, own)
    for layer, output in zip(stack, outputs, strict=True):
        assert torch.equal(output, layer(given.hidden_states, given.context))


@pytest.mark.parametrize("own", [True, False])
def test_a_picture_does_not_depend_on_its_neighbours(own: bool) -> None:
    given, stack = scenes()["a batch of different plans"].to(torch.float32), layers(3, torch.float32)
    cascade = given.cascade(layers=None)
    together = evaluate(stack, cascade, given, own)
    for picture in range(len(given.pictures)):
        alone = given.alone(picture)
        cascade_alone = alone.cascade(layers=None)
        outputs = evaluate(stack, cascade_alone, alone, own)
        rows = [row for row, owner in enumerate(given.rows.picture) if owner == picture]
        for output, of_batch in zip(outputs, together, strict=True):
            torch.testing.assert_close(output, of_batch[rows], rtol=0, atol=1e-6)
        main = contexts(cascade)[None][rows]
        torch.testing.assert_close(contexts(cascade_alone)[None], main, rtol=0, atol=3e-6)


def test_the_sides_of_guidance_may_arrive_in_calls_of_their_own() -> None:
    given, stack = scenes()["update and edits"], layers(3)
    together = evaluate(stack, given.cascade(), given)
    for row, conditional in enumerate(given.rows.conditional):
        side = replace(
            given,
            rows=Rows((0,), (conditional,)),
            context=given.context[row : row + 1],
            hidden_states=given.hidden_states[row : row + 1],
        )
        for output, of_batch in zip(evaluate(stack, side.cascade(), side), together, strict=True):
            torch.testing.assert_close(output[0], of_batch[row], rtol=1e-12, atol=1e-12)


def test_scaling_the_mask_scales_the_pull() -> None:
    (layer,), mask = layers(), torch.rand(12, 8, dtype=torch.float64)
    steps = []
    for factor in (1.0, 0.25):
        given = scene([Picture(mask=factor * mask)], [Values(0.2, 0.0)])
        cascade = given.cascade()
        evaluate([layer], cascade, given)
        steps.append(contexts(cascade)[None] - given.context)
    assert steps[0].abs().max() > 0.01
    torch.testing.assert_close(0.25 * steps[0], steps[1], rtol=1e-12, atol=1e-12)


def test_a_mask_works_on_the_side_of_the_picture_where_it_is_white() -> None:
    """Not square, and the layer is smaller than the latent: the mask follows height and width, not the square root."""
    (layer,), mask = layers(), torch.zeros(12, 8, dtype=torch.float64)
    mask[6:] = 1
    steps = []
    for loud in (slice(0, 12), slice(12, 24)):  # rows of 4 pixels: the upper and the lower half
        given = replace(scene([Picture(mask=mask)], [Values(0.2, 0.0)]), size=(12, 8))
        hidden_states = torch.zeros_like(given.hidden_states)
        hidden_states[:, loud] = given.hidden_states[:, loud]
        cascade = given.cascade()
        evaluate([layer], cascade, replace(given, hidden_states=hidden_states))
        steps.append((contexts(cascade)[None] - given.context).abs().max())
    assert steps[0] < 1e-12 < 1e-3 < steps[1]


@pytest.mark.parametrize("own", [True, False])
def test_permuted_pixels_permute_the_output_alone(own: bool) -> None:
    given = scenes()["a batch of different plans"]
    given = replace(given, pictures=tuple(replace(picture, mask=None) for picture in given.pictures))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    stack = layers(2)
    first, second = given.cascade(), given.cascade()
    straight = evaluate(stack, first, given, own)
    permuted = evaluate(stack, second, replace(given, hidden_states=given.hidden_states[:, order]), own)
    torch.testing.assert_close(permuted, [output[:, order] for output in straight], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(contexts(second)[None], contexts(first)[None], rtol=1e-12, atol=1e-12)


def test_permuted_tokens_change_no_output() -> None:
    boosts = (1.0, 2.5, 1.0, 0.0, 1.0, 1.0, 1.0)
    given = scene([Picture(edit_contexts(1), boosts)], [Values(0.2, 0.4, "published", (0.5,), (0.1,), (0.2,))])
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    moved = replace(
        given,
        context=given.context[:, order],
        pictures=(Picture((given.pictures[0].edits[0][order],), tuple(boosts[token] for token in order)),),
    )
    stack = layers(2)
    first, second = given.cascade(), moved.cascade()
    straight, permuted = evaluate(stack, first, given), evaluate(stack, second, moved)
    torch.testing.assert_close(permuted, straight, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(contexts(second)[None], contexts(first)[None][:, order], rtol=1e-12, atol=1e-12)


def test_a_boost_multiplies_the_pull_of_its_word_in_the_conditional_rows() -> None:
    (layer,), boosts = layers(), (1.0, 2.5, 1.0, 0.0)
    steps = []
    for picture in (Picture(), Picture(boosts=boosts)):
        given = scene([picture], [Values(0.2, 0.0)])
        cascade = given.cascade()
        evaluate([layer], cascade, given)
        steps.append(contexts(cascade)[None] - given.context)
    plain, boosted = steps
    factors = torch.tensor([*boosts, 1, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(boosted[1], factors[:, None] * plain[1], rtol=1e-12, atol=1e-12)
    assert torch.equal(boosted[0], plain[0])
