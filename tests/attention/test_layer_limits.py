"""One layer under a cascade at its limits: short precision, refusals, recording, gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lib_ebca.attention.adjoint import NotLinearError
from lib_ebca.attention.cascade import UnknownRowsError
from lib_ebca.attention.layer import attention
from lib_ebca.attention.layer_size import UnknownSizeError
from lib_ebca.attention.picture import Picture, Rows, Values
from lib_ebca.attention.record import Recorder
from tests.tiny_attention import (
    TEXT,
    Scene,
    contexts,
    edit_contexts,
    evaluate,
    layers,
    noise,
    projections,
    scene,
    scenes,
)


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
    recorder = Recorder(energies=True)
    cascade = given.cascade(recorder=recorder)
    cascade.begin(given.rows, given.size)
    theirs = layer(given.hidden_states, given.context)
    found = attention(projections(layer), cascade, given.hidden_states, given.context, lambda context: theirs, own=True)
    assert found is theirs
    assert len(recorder.energies) == 1


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


@pytest.mark.parametrize("part", ["to_k", "to_v"])
def test_what_one_half_needs_a_gradient_for_is_not_kept(part: str) -> None:
    given, stack = scenes()["edits"], layers()
    getattr(stack[0], part).requires_grad_()
    cascade = given.cascade()
    gradients = []
    for _ in range(3):
        (output,) = evaluate(stack, cascade, given)
        gradients.append(torch.autograd.grad(output.square().sum(), getattr(stack[0], part).weight)[0])
    torch.testing.assert_close(gradients[2], gradients[0])


@pytest.mark.parametrize("own", [True, False])
def test_gradients_reach_the_context_beside_edits_that_need_none(own: bool) -> None:
    given, stack = scenes()["edits"], layers()
    context = given.context.clone().requires_grad_()
    (output,) = evaluate(stack, given.cascade(), replace(given, context=context), own)
    (gradient,) = torch.autograd.grad(output.square().sum(), context)
    (layer,), step = stack, 1e-6 * noise(*context.shape, seed=9)
    ends = [
        float(
            evaluate([layer], given.cascade(), replace(given, context=given.context + sign * step), own)[0]
            .square()
            .sum()
        )
        for sign in (1, -1)
    ]
    assert (ends[0] - ends[1]) / 2 == pytest.approx(float((gradient * step).sum()), rel=1e-5)
