"""One layer under a cascade: fused and wrapped, gradients, neighbours, masks, precisions, counted projections."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lib_ebca.adjoint import NotLinearError
from lib_ebca.cascade import Cascade, UnknownRowsError, UnknownSizeError
from lib_ebca.energy import conditional_energy, prior_energy, split_heads
from lib_ebca.layer import attention
from lib_ebca.moment import Member
from lib_ebca.picture import Picture, Rows, Timetable, Values
from lib_ebca.record import Recorder
from tests.tiny_attention import (
    HEADS,
    TEXT,
    Scene,
    edit_contexts,
    evaluate,
    layers,
    noise,
    projections,
    scene,
    scenes,
)


def contexts(cascade: Cascade) -> dict[Member | None, Tensor]:
    """Every context as the last layer left it; the main one under None."""
    assert cascade.evaluation is not None
    found: dict[Member | None, Tensor] = {None: cascade.evaluation.main}
    for stream in cascade.evaluation.streams:
        found.update(zip(stream.group.members, stream.context, strict=True))
    return found


def calls_of(module: nn.Module) -> list[Tensor]:
    """What a projection is called with from now on."""
    calls: list[Tensor] = []
    module.register_forward_pre_hook(lambda module, args: calls.append(args[0]))
    return calls


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


@pytest.mark.parametrize(
    ("values", "drift", "calls"),
    [
        (Values(0, 0, "published", (0.7, 0.2), (0, 0), (0, 0)), False, 2 + 1),
        (Values(0.2, 0.4, "published", (0.7, 0.2), (0, 0), (0, 0)), False, 4 + 1),
        (Values(0, 0, "published", (0.7, 0.2), (0.1, 0), (0, 0)), False, 2 + 4 + 1),
        (Values(0, 0, "published", (0.7, 0.2), (0, 0), (0, 0)), True, 2 + 4),
    ],
    ids=["edits", "edits and update", "one edit moves", "drift"],
)
def test_keys_and_values_at_rest_are_made_once(values: Values, drift: bool, calls: int) -> None:
    """Those of the main context twice: at the first evaluation nobody knows that the host will hand it over again."""
    given = scene([Picture(edit_contexts(2))], [values])
    (layer,) = layers()
    values_made = calls_of(layer.to_v)
    cascade = given.cascade(drift=drift)
    for _ in range(4):
        evaluate([layer], cascade, given)
    assert len(values_made) == calls


def test_what_is_kept_changes_no_bit() -> None:
    given, stack = scenes()["edits"].to(torch.float32), layers(2, torch.float32)
    cascade = given.cascade()
    first, second, third = (evaluate(stack, cascade, given) for _ in range(3))
    for outputs in zip(first, second, third, strict=True):
        assert torch.equal(outputs[0], outputs[1]) and torch.equal(outputs[0], outputs[2])


def test_other_strengths_are_heeded() -> None:
    """The kept values hold the shares."""
    given, stack = scenes()["edits"], layers(2)
    stronger = Values(0, 0, "published", (0.9, 0.1), (0, 0), (0, 0))
    cascade = Cascade(given.pictures, [Timetable((given.values[0], given.values[0], stronger))])
    for _ in range(2):
        evaluate(stack, cascade, given)
    changed = replace(given, values=(stronger,))
    torch.testing.assert_close(evaluate(stack, cascade, given), evaluate(stack, changed.cascade(), changed))


def test_queries_are_made_once() -> None:
    given, (layer,) = scenes()["update and edits"], layers()
    queries_made = calls_of(layer.to_q)
    evaluate([layer], given.cascade(), given)
    assert len(queries_made) == 1


@pytest.mark.parametrize("gamma", [0.0, 0.2])
def test_another_embedding_from_the_host_is_heeded(gamma: float) -> None:
    """Keys and values of the host's context are kept no longer than it, in the main and in the editorial terms."""
    at_rest = Values(gamma, gamma, "published", (0.7, -0.4), (0.0, 0.0), (0.0, 0.0))
    first, stack = scene([Picture(edit_contexts(2))], [at_rest]), layers(2)
    second = replace(first, context=first.context.flip(0))
    cascade = second.cascade()
    for _ in range(3):
        evaluate(stack, cascade, first)
    changed = evaluate(stack, cascade, second)
    torch.testing.assert_close(changed, evaluate(stack, second.cascade(), second), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("own", [True, False])
def test_the_last_layers_update_is_left_out(own: bool) -> None:
    given, stack = scenes()["update and edits"], layers(2)
    stack_of_one = given.cascade()
    evaluate(stack[:1], stack_of_one, given, own)
    every, without_last = given.cascade(), given.cascade(layers=2)
    for cascade in (every, without_last):
        evaluate(stack, cascade, given, own)
    for member, context in contexts(stack_of_one).items():
        assert torch.equal(contexts(without_last)[member], context)
    assert not torch.equal(contexts(every)[None], contexts(stack_of_one)[None])
    assert 1 in every.adjoints and 1 not in without_last.adjoints


def test_under_drift_the_last_layer_updates_the_edits_alone() -> None:
    given, stack = scenes()["update and edits"], layers(2)
    cascade, every = given.cascade(layers=2, drift=True), given.cascade(drift=True)
    evaluate(stack, cascade, given)
    evaluate(stack, every, given)
    assert not torch.equal(contexts(cascade)[None], contexts(every)[None])
    for member, context in contexts(every).items():
        if member is not None:
            assert torch.equal(contexts(cascade)[member], context)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_precision_stays_near_the_exact_numbers(dtype: torch.dtype, own: bool) -> None:
    given = scenes()["update and edits"]
    cascade = given.to(dtype).cascade()
    short = evaluate(layers(3, dtype), cascade, given.to(dtype), own)
    exact = evaluate(layers(3), given.cascade(), given, own)
    assert short[-1].dtype == dtype
    assert all(context.dtype == torch.float32 for context in contexts(cascade).values())
    error = (short[-1].double() - exact[-1]).abs().max() / exact[-1].abs().max()
    assert error < 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_keys_whose_norm_is_beyond_float16(dtype: torch.dtype) -> None:
    given = scene([Picture()], [Values(0.0, 0.02)]).to(dtype)
    given.context[:, 1] = 60
    stack = layers(2, dtype)
    assert stack[0].to_k(given.context).float().square().sum(-1).max() > 65504
    cascade = given.cascade()
    outputs = evaluate(stack, cascade, given)
    assert all(bool(output.isfinite().all()) for output in outputs)
    step = contexts(cascade)[None] - given.context.float()
    assert bool(step.isfinite().all())
    # All of the prior's weight is on the token that ran away, and it is drawn back.
    assert step[:, 1].abs().max() > 0.1
    assert (step[:, 1] * given.context[:, 1].float()).sum() < 0


def test_a_batch_that_was_not_announced_is_refused() -> None:
    given, stack = scenes()["update"], layers()
    cascade = given.cascade()
    with pytest.raises(UnknownRowsError, match="2 rows arrived where 4 were announced"):
        evaluate(stack, cascade, replace(given, rows=Rows.guided(2)))


def test_a_mask_over_an_unknown_size_is_refused() -> None:
    given, stack = scenes()["mask"], layers()
    with pytest.raises(UnknownSizeError, match="24 pixels does not come from halving a latent of 9 x 9"):
        evaluate(stack, given.cascade(), replace(given, size=(9, 9)))


def test_keys_that_are_not_linear_serve_edits_but_no_update() -> None:
    (layer,) = layers()
    layer.to_k = nn.Sequential(layer.to_k, nn.Tanh())
    edits = scenes()["edits"]
    bent = evaluate([layer], edits.cascade(), edits)
    assert not torch.allclose(bent[0], layer(edits.hidden_states, edits.context))
    update = scenes()["update"]
    with pytest.raises(NotLinearError):
        evaluate([layer], update.cascade(), update)


@pytest.mark.parametrize("name", [*scenes(), "nothing"])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("size", [(6, 4), (9, 9)])
def test_recording_changes_no_bit(name: str, own: bool, size: tuple[int, int]) -> None:
    given = {**scenes(), "nothing": scene([Picture()], [Values()])}[name].to(torch.float32)
    if size == (9, 9):
        # A size that the layer does not have: a mask needs one that fits, the maps leave the layer out.
        given = replace(given, pictures=tuple(replace(picture, mask=None) for picture in given.pictures))
    given, stack = replace(given, size=size), layers(2, torch.float32)
    silent, recorded = given.cascade(), given.cascade(recorder=Recorder(energies=True, maps=True))
    for output, again in zip(evaluate(stack, silent, given, own), evaluate(stack, recorded, given, own), strict=True):
        assert torch.equal(output, again)
    for member, context in contexts(silent).items():
        assert torch.equal(contexts(recorded)[member], context)


def test_recording_an_idle_plan_leaves_the_layer_to_its_own_attention() -> None:
    """Another kernel than ours may round differently: its output is handed on as it is."""
    given, (layer,) = scene([Picture()], [Values()]), layers()
    cascade = given.cascade(recorder=Recorder(energies=True))
    cascade.begin(given.rows, given.size)
    theirs = layer(given.hidden_states, given.context)
    found = attention(projections(layer), cascade, given.hidden_states, given.context, lambda context: theirs, own=True)
    assert found is theirs
    assert cascade.recorder is not None and len(cascade.recorder.energies) == 1


def test_somebody_elses_attention_is_averaged_as_it_is() -> None:
    """Wrapped, the layer owns the average alone: here the other adds a constant, which the weights leave whole."""
    given = scenes()["edits"]
    (layer,) = layers()
    (plain,) = evaluate([layer], given.cascade(), given)
    cascade = given.cascade()
    cascade.begin(given.rows, given.size)

    def attend(context: Tensor) -> Tensor:
        return layer(given.hidden_states, context) + 5

    found = attention(projections(layer), cascade, given.hidden_states, given.context, attend, False)
    torch.testing.assert_close(found, plain + 5, rtol=1e-12, atol=1e-12)


def test_any_number_of_tokens_and_pixels() -> None:
    stack = layers(2)
    for tokens, pixels in ((1, 1), (77, 5), (154, 2)):
        context, hidden_states = noise(2, tokens, TEXT, seed=1), noise(2, pixels, 24, seed=2)
        values = Values(0.2, 0.4, "published", (0.5,), (0.1,), (0.1,))
        picture = Picture(edit_contexts(1, tokens=77), (2.0,))
        given = Scene((picture,), (values,), Rows.guided(1), context, hidden_states, (pixels, 1))
        fused, wrapped = (evaluate(stack, given.cascade(), given, own) for own in (True, False))
        torch.testing.assert_close(fused, wrapped, rtol=1e-12, atol=1e-12)


def test_gradients_reach_the_hidden_states() -> None:
    given, stack = scenes()["update and edits"], layers(2)
    hidden_states = given.hidden_states.clone().requires_grad_()
    outputs = evaluate(stack, given.cascade(), replace(given, hidden_states=hidden_states))
    (gradient,) = torch.autograd.grad(outputs[-1].square().sum(), hidden_states)
    assert gradient.isfinite().all() and gradient.abs().max() > 0


def test_gradients_can_be_asked_for_at_every_evaluation() -> None:
    """What is kept from one evaluation for the next holds no graph: backward frees it."""
    given, stack = scenes()["edits"], [layer.requires_grad_() for layer in layers(2)]
    cascade = given.cascade()
    gradients = []
    for _ in range(3):
        outputs = evaluate(stack, cascade, given)
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), stack[1].to_v.weight)[0])
    torch.testing.assert_close(gradients[2], gradients[0])
