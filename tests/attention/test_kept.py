"""What is kept between evaluations, made beforehand or run again within a gradient is what it would be afresh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.layer import attention, prepare
from lib_ebca.attention.picture import Picture, Rows, Values
from tests.tiny_attention import Scene, contexts, edit_contexts, evaluate, layers, projections, scene, scenes


def again(given: Scene, cascade: Cascade, stack: Sequence[Attention], own: bool = True) -> list[Tensor]:
    """One evaluation, and that it gives what a new cascade would."""
    found = evaluate(stack, cascade, given, own)
    torch.testing.assert_close(found, evaluate(stack, given.cascade(), given, own), rtol=1e-12, atol=1e-12)
    return found


@pytest.mark.parametrize("name", ["to_k", "to_v"])
@pytest.mark.parametrize("kind", ["edits", "update", "update and edits"])
def test_other_weights_are_heeded(name: str, kind: str) -> None:
    """Also where the keys are those of a module that was asked for its matrix once."""
    given, stack = scenes()[kind], layers(2)
    for layer in stack:
        layer.to_k = nn.Sequential(layer.to_k)
    cascade = given.cascade()
    for _ in range(3):
        before = again(given, cascade, stack)
    part = getattr(stack[0], name)
    with torch.no_grad():
        next(part.parameters()).mul_(1.5)
    after = again(given, cascade, stack)
    assert not torch.allclose(after[0], before[0])


def test_a_module_is_asked_for_its_matrix_once_as_long_as_it_stays() -> None:
    given, (layer,) = scenes()["update"], layers()
    layer.to_k = nn.Sequential(layer.to_k)
    calls: list[int] = []
    layer.to_k.register_forward_pre_hook(lambda module, args: calls.append(1))
    cascade = given.cascade()
    counted = []
    for _ in range(3):
        before = len(calls)
        evaluate([layer], cascade, given)
        counted.append(len(calls) - before)
    # Nought, the unit vectors and a probe, besides the keys of each evaluation.
    assert counted == [4, 1, 1]


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("kind", ["edits", "one edit moves"])
def test_a_context_that_the_host_changes_in_place_is_heeded(kind: str, inference: bool) -> None:
    """In inference mode tensors count no versions, so that nothing may be kept of them."""
    with torch.inference_mode(inference):
        given = scenes()[kind]
        given = replace(given, context=given.context.clone())
        stack, cascade = layers(2), given.cascade()
        for _ in range(3):
            again(given, cascade, stack)
        given.context.mul_(1.5)
        again(given, cascade, stack)
        again(given, cascade, stack)


def made(module: nn.Module) -> list[int]:
    """Counts what a projection is called for from now on."""
    calls: list[int] = []
    module.register_forward_pre_hook(lambda module, args: calls.append(1))
    return calls


@pytest.mark.parametrize("name", [*scenes(), "nothing"])
def test_what_is_made_beforehand_changes_no_bit(name: str) -> None:
    given = {**scenes(), "nothing": scene([Picture()], [Values()])}[name]
    stack = layers(2)
    plain, prepared = given.cascade(layers=2), given.cascade(layers=2)
    expected = evaluate(stack, plain, given)
    kept = contexts(plain)
    prepared.begin(given.rows, given.size, given=given.context)
    prepare([projections(layer, index) for index, layer in enumerate(stack)], prepared, given.context)
    assert prepared.evaluation is not None
    found = [
        attention(
            projections(layer, index),
            prepared,
            given.hidden_states,
            given.context,
            lambda context, layer=layer: layer(given.hidden_states, context),  # type: ignore[misc]  # mypy cannot infer a lambda's default
            True,
        )
        for index, layer in enumerate(stack)
    ]
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert all(torch.equal(context, kept[member]) for member, context in contexts(prepared).items())
    # Inside a compiled graph nothing is counted, and nothing held for gradients.
    assert not prepared.evaluation.served and not prepared.evaluation.entered
    assert prepared.evaluation.layer == 1


@pytest.mark.parametrize(
    ("name", "before", "after", "moved"),
    [
        ("nothing", 0, 0, []),
        ("update", 0, 1, [0]),
        ("edits", 2, 0, []),
        ("update and edits", 1, 2, [0]),
        ("edits that move", 1, 1, [0]),
    ],
)
def test_all_that_stays_is_made_beforehand(name: str, before: int, after: int, moved: list[int]) -> None:
    """Values by layer: those of the main context at rest and of the edits at rest; adjoints where a context moves."""
    given = {**scenes(), "nothing": scene([Picture()], [Values()])}[name]
    stack = layers(2)
    calls = made(stack[0].to_v)
    cascade = given.cascade(layers=2)
    cascade.begin(given.rows, given.size, given=given.context)
    prepare([projections(layer, index) for index, layer in enumerate(stack)], cascade, given.context)
    counts = [len(calls)]
    assert sorted(cascade.adjoints) == moved
    if name != "nothing":
        run = projections(stack[0])
        attention(run, cascade, given.hidden_states, given.context, lambda context: context, True)
    assert [*counts, len(calls) - counts[0]] == [before, after]


@pytest.mark.parametrize("name", ["update", "edits that move", "update and edits"])
@pytest.mark.parametrize("own", [True, False])
def test_a_layer_that_runs_again_within_a_gradient_finds_what_it_found(name: str, own: bool) -> None:
    """Gradient checkpointing: the layers come round in the other order while the gradient is taken."""
    given, stack = scenes()[name], layers(3)

    def gradient(checkpointed: bool) -> Tensor:
        hidden = given.hidden_states.clone().requires_grad_()
        cascade = given.cascade()
        cascade.begin(given.rows, given.size)
        states = hidden
        for index, layer in enumerate(stack):

            def run(states: Tensor, index: int = index, layer: Attention = layer) -> Tensor:
                return attention(
                    projections(layer, index),
                    cascade,
                    states,
                    given.context,
                    lambda context: layer(states, context),
                    own,
                )

            states = states + (checkpoint(run, states, use_reentrant=False) if checkpointed else run(states))
        (found,) = torch.autograd.grad(states.square().sum(), hidden)
        return found

    torch.testing.assert_close(gradient(True), gradient(False), rtol=1e-12, atol=1e-12)


def test_nothing_is_held_for_gradients_that_nobody_takes() -> None:
    given, stack = scenes()["update"], layers(2)
    for grad in (False, True):
        cascade = given.cascade()
        with torch.set_grad_enabled(grad):
            evaluate(stack, cascade, given)
        assert cascade.evaluation is not None
        assert sorted(cascade.evaluation.entered) == ([0, 1] if grad else [])


def test_a_cascade_that_has_not_begun_knows_no_evaluation() -> None:
    cascade = scenes()["update"].cascade()
    assert (cascade.evaluation, cascade.number, cascade.prepared, cascade.rows_count) == (None, -1, False, 0)
    cascade.begin(Rows.plain(3), (2, 2))
    assert (cascade.number, cascade.rows_count) == (0, 3)


def test_contexts_that_are_the_same_at_every_evaluation_are_kept_by_who_reads_them() -> None:
    """The unconditional embedding is the host's: another one in its place is read anew, the edits stay."""
    values = Values(0.2, 0.4, "published", (0.7,), (0.0,), (0.0,))
    given, (layer,) = scene([Picture(edit_contexts(1, tokens=9))], [values]), layers()
    calls = made(layer.to_v)
    cascade = given.cascade()
    counts = []
    for number in range(3):
        now = replace(given, context=given.context + number)
        before = len(calls)
        found = evaluate([layer], cascade, now)
        counts.append(len(calls) - before)
        torch.testing.assert_close(found, evaluate([layer], now.cascade(), now), rtol=1e-12, atol=1e-12)
    # The main one, the unconditional one and the edit; then without the edit.
    assert counts == [3, 2, 2]
