"""A host that repeats contexts to bring them to one length: what is done is what is done without it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_ebca.attention.picture import Picture, Rows, TokenFactors, Values
from lib_ebca.attention.record import Recorder
from tests.tiny_attention import HEADS, Scene, contexts, edit_contexts, evaluate, layers, noise, scene, scenes

FACTORS = (TokenFactors((1, 3), 2.5), TokenFactors((2,), heads=(torch.arange(1.0, HEADS + 1),) * 2))
BY_HEAD = replace(
    scenes()["update and edits"],
    pictures=(replace(scenes()["update and edits"].pictures[0], factors=FACTORS),),
    values=(replace(scenes()["update and edits"].values[0], factors=(True, True)),),
)


def repeated(given: Scene, times: int) -> Scene:
    rows = replace(given.rows, copies=(times,) * len(given.rows.picture))
    return replace(given, rows=rows, context=given.context.repeat(1, times, 1))


@pytest.mark.parametrize("name", [*scenes(), "by head"])
@pytest.mark.parametrize("own", [True, False])
def test_every_copy_of_a_token_is_moved_as_the_token_is(name: str, own: bool) -> None:
    given, stack = {**scenes(), "by head": BY_HEAD}[name], layers(2)
    once, thrice = given.cascade(), given.cascade()
    expected = evaluate(stack, once, given, own)
    found = evaluate(stack, thrice, repeated(given, 3), own)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    main = contexts(once)[None].repeat(1, 3, 1)
    torch.testing.assert_close(contexts(thrice)[None], main, rtol=1e-10, atol=1e-10)


def test_each_row_has_its_own_number_of_copies() -> None:
    boosts = tuple(1.0 + number for number in range(14))
    picture = Picture(edit_contexts(1), boosts, None, FACTORS)
    values = Values(0.2, 0.4, "published", (0.7,), (0.1,), (0.3,), factors=(True, True))
    plain = scene([picture], [values])
    long = noise(1, 14, plain.context.shape[-1], seed=4)
    mixed = replace(
        plain,
        rows=Rows((0, 0), (False, True), (2, 1)),
        context=torch.cat([plain.context[:1].repeat(1, 2, 1), long]),
    )
    stack = layers(2)
    found = evaluate(stack, mixed.cascade(), mixed)
    for row, context in enumerate((plain.context[:1], long)):
        alone = replace(
            plain,
            rows=Rows((0,), (bool(row),)),
            context=context,
            hidden_states=plain.hidden_states[row : row + 1],
        )
        for output, together in zip(evaluate(stack, alone.cascade(), alone), found, strict=True):
            torch.testing.assert_close(together[row], output[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["update and edits", "a batch of different plans"])
def test_what_is_recorded_is_read_off_the_first_copy(name: str) -> None:
    given, stack = scenes()[name], layers(2)
    once, twice = Recorder(energies=True, maps=True), Recorder(energies=True, maps=True)
    evaluate(stack, given.cascade(recorder=once), given)
    evaluate(stack, given.cascade(recorder=twice), repeated(given, 2))
    for expected, found in zip(once.energies, twice.energies, strict=True):
        assert (found.step, found.layer, found.name) == (expected.step, expected.layer, expected.name)
        for part in ("likelihood", "conditional", "prior"):
            assert getattr(found, part) == pytest.approx(getattr(expected, part), rel=1e-4)
    for picture in range(len(given.pictures)):
        torch.testing.assert_close(twice.maps.map(picture, [2, 3]), once.maps.map(picture, [2, 3]))


def test_rows_hold_their_context_once_unless_told() -> None:
    rows = Rows.guided(2)
    assert (rows.picture, rows.conditional, rows.copies, rows.beside) == (
        (0, 1, 0, 1),
        (False, False, True, True),
        (),
        False,
    )
    assert [rows.copies_of(row) for row in range(4)] == [1] * 4
    assert [Rows((0, 0), (True, True), (3, 2)).copies_of(row) for row in range(2)] == [3, 2]
    assert Rows.plain(2) == Rows((0, 1), (True, True))
