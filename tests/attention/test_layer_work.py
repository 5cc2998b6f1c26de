"""One layer under a cascade does no work twice, and heeds what changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Timetable, Values
from tests.tiny_attention import (
    contexts,
    edit_contexts,
    evaluate,
    layers,
    scene,
    scenes,
)


def calls_of(module: nn.Module) -> list[Tensor]:
    """What a projection is called with from now on."""
    calls: list[Tensor] = []
    module.register_forward_pre_hook(lambda module, args: calls.append(args[0]))
    return calls


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
