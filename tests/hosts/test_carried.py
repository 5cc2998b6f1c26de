"""Rows are known by the embeddings in them, in whatever order a pipeline sends them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lib_ebca.attention.picture import Rows
from lib_ebca.hosts.carried import NONE_KNOWN, SEVERAL, SOME_UNKNOWN, Carried, complete

CATS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
DOGS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))


def found(given: Tensor, pictures: int = 1, **options: object) -> Rows:
    rows, sentence = Carried(CATS[:pictures], DOGS[:pictures], **options).rows(given)  # type: ignore[arg-type]  # options of several types
    assert rows is not None and sentence is None
    return rows


@pytest.mark.parametrize(
    ("given", "picture", "conditional"),
    [
        ((DOGS[:1], CATS[:1]), (0, 0), (False, True)),
        ((CATS[:1], DOGS[:1], DOGS[:1]), (0, 0, 0), (True, False, False)),
        ((DOGS[:1],), (0,), (False,)),
        ((CATS[:1],) * 3, (0, 0, 0), (True, True, True)),
        ((DOGS[:1], CATS[:1], DOGS[:1], CATS[:1]), (0, 0, 0, 0), (False, True, False, True)),
    ],
)
def test_any_order_of_one_picture(
    given: tuple[Tensor, ...], picture: tuple[int, ...], conditional: tuple[bool, ...]
) -> None:
    assert found(torch.cat(given)) == Rows(picture, conditional)


def test_any_order_of_several_pictures() -> None:
    assert found(torch.cat([DOGS, CATS]), 3) == Rows.guided(3)
    assert found(torch.stack([CATS[2], DOGS[0], CATS[1]]), 3) == Rows((2, 0, 1), (True, False, True))


def test_equal_prompts_are_told_apart_by_their_place() -> None:
    same = CATS[:1].expand(2, -1, -1)
    rows, _ = Carried(same, DOGS[:1].expand(2, -1, -1)).rows(torch.cat([DOGS[:1]] * 2 + [CATS[:1]] * 2))
    assert rows == Rows.guided(2)
    rows, _ = Carried(same, same).rows(CATS[:1].expand(4, -1, -1))
    assert rows == Rows.guided(2)
    rows, _ = Carried(same, same).rows(same)
    assert rows == Rows.plain(2)


def test_rows_of_nobodys_are_left_alone_and_told() -> None:
    rows, sentence = Carried(CATS[:1], DOGS[:1]).rows(torch.stack([DOGS[0], CATS[2], CATS[0]]))
    assert (rows, sentence) == (Rows((0, 1, 0), (False, False, True)), SOME_UNKNOWN)
    assert Carried(CATS[:1], DOGS[:1]).rows(CATS[1:]) == (None, NONE_KNOWN)
    assert Carried(CATS[:1], None).rows(torch.zeros(2, 9, 4)) == (None, NONE_KNOWN)


def test_a_call_of_several_prompts_is_not_guessed_at() -> None:
    carried = Carried(CATS[:1], DOGS[:1], superseded=(CATS[1:2],))
    assert carried.rows(torch.cat([DOGS[:1], CATS[:2]])) == (None, SEVERAL)
    assert carried.rows(torch.cat([DOGS[:1], CATS[:1]]))[1] is None


def test_half_precision_is_known_again() -> None:
    assert found(torch.cat([DOGS[:1], CATS[:1]]).half()) == Rows.guided(1)


def test_a_tensor_that_is_changed_in_place_keeps_its_rows() -> None:
    carried, given = Carried(CATS[:1], DOGS[:1]), torch.cat([DOGS[:1], CATS[:1]])
    first = carried.rows(given)
    given.mul_(2)
    assert carried.rows(given) == first
    assert carried.rows(given.clone()) == (None, NONE_KNOWN)
    unknown = CATS[1:2].clone()
    assert carried.rows(unknown) == (None, NONE_KNOWN)
    unknown.copy_(CATS[:1])
    assert carried.rows(unknown)[0] == Rows.plain(1)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(Rows.guided(2), True), (Rows.plain(2), True), (Rows((0, 1), (True, False)), False), (Rows((0,), (True,)), False),
     (Rows((0, 1, 2), (True, True, False)), False)],
)  # fmt: skip
def test_whether_everybody_is_there(rows: Rows, expected: bool) -> None:
    assert complete(rows, 2) is expected
