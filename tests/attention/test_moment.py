"""How a plan's numbers are laid out for the rows of a batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib_ebca.attention.moment import Member, moment
from lib_ebca.attention.picture import Picture, Rows, Values
from tests.tiny_attention import TEXT, noise


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Picture], list[Values], Rows]:
    """Pictures with edits of any number and length, some of them at rest, in any rows."""
    pictures, values = [], []
    numbers = st.sampled_from([0.0, 0.5, 1.25])
    for _ in range(draw(st.integers(1, 4))):
        lengths = draw(st.lists(st.sampled_from([5, 10]), max_size=3))
        strengths = tuple(draw(st.sampled_from([0.0, -0.25, 0.5])) for _ in lengths)
        gammas = [tuple(draw(numbers) for _ in lengths) for _ in range(2)]
        pictures.append(Picture(tuple(noise(length, TEXT) for length in lengths)))
        values.append(Values(draw(numbers), draw(numbers), "published", strengths, *gammas))
    owners = draw(st.lists(st.integers(0, len(pictures) - 1), min_size=1, max_size=6))
    sides = draw(st.lists(st.booleans(), min_size=len(owners), max_size=len(owners)))
    return pictures, values, Rows(tuple(owners), tuple(sides))


@given(batches(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_row_gets_its_own_and_the_weights_add_up(
    batch: tuple[list[Picture], list[Values], Rows], drift: bool
) -> None:
    pictures, values, rows = batch
    now = moment(pictures, values, rows, noise(len(rows.picture), 5, TEXT), drift)
    total, numbers = torch.zeros(len(rows.picture), dtype=torch.float64), torch.arange(len(rows.picture))
    seen: list[Member] = []
    for group in now.groups:
        stretches = [slot.members for slot in group.slots]
        assert [stretch.start for stretch in stretches] == [0, *(stretch.stop for stretch in stretches[:-1])]
        assert stretches[-1].stop == len(group.members) == len(group.weights)
        assert numbers[group.rows].tolist() == [member.row for member in group.members]
        for slot in group.slots:
            own = [member.row for member in group.members[slot.members]]
            assert numbers[slot.rows].tolist() == own and len(set(own)) == len(own)
        lengths = {
            5 if member.edit is None else len(pictures[member.picture].edits[member.edit]) for member in group.members
        }
        assert len(lengths) == 1
        total.index_add_(0, numbers[group.rows], group.weights[:, 0, 0])
        seen.extend(group.members)
    assert len(seen) == len(set(seen))
    if now.weight is None:
        assert not seen
    else:
        torch.testing.assert_close(total + now.weight[:, 0, 0], torch.ones_like(total))

    for row, (picture, conditional) in enumerate(zip(rows.picture, rows.conditional, strict=True)):
        mine = {member.edit for member in seen if member.row == row}
        strengths = values[picture].strengths
        if conditional:
            assert {edit for edit, strength in enumerate(strengths) if strength} <= mine
            assert None not in mine
        else:
            assert mine <= {None}
        assert all(member.picture == picture for member in seen if member.row == row)


def test_rows_of_the_published_two_edits() -> None:
    pictures = [Picture((noise(5, TEXT), noise(5, TEXT)))]
    values = [Values(0, 0, "published", (0.75, -0.65), (6e-4, 5e-4), (6e-4, 3e-4))]
    (group,) = moment(pictures, values, Rows.guided(1), noise(2, 5, TEXT)).groups
    assert group.members == (Member(0, 0, None), Member(1, 0, 0), Member(1, 0, 1))
    # Two of them at once without a copy, then the second edit.
    assert [(slot.members, slot.rows) for slot in group.slots] == [
        (slice(0, 2), slice(0, 2)),
        (slice(2, 3), slice(1, 2)),
    ]
    assert group.weights.flatten().tolist() == pytest.approx([0.1 / 1.1, 0.75 / 1.1, -0.65 / 1.1])
    assert group.update is not None and group.update.attn is not None and group.update.norm is not None
    # The unconditional copy takes the mean of the edits' steps.
    assert group.update.attn.flatten().tolist() == pytest.approx([5.5e-4, 6e-4, 5e-4])
    assert group.update.norm.flatten().tolist() == pytest.approx([4.5e-4, 6e-4, 3e-4])


def test_unconditional_rows_are_left_out_while_all_their_terms_are_equal() -> None:
    pictures = [Picture((noise(5, TEXT),))]
    at_rest = [Values(0, 0, "published", (0.75,), (0.0,), (0.0,))]
    (group,) = moment(pictures, at_rest, Rows.guided(1), noise(2, 5, TEXT)).groups
    assert group.members == (Member(1, 0, 0),)
    now = moment(pictures, [Values(0.1, 0, "published", (0.75,), (0.0,), (0.0,))], Rows.guided(1), noise(2, 5, TEXT))
    assert {member.row for group in now.groups for member in group.members} == {0, 1}


def test_boosts_reach_the_conditional_rows_of_their_picture() -> None:
    pictures = [Picture(boosts=(1.0, 3.0)), Picture()]
    now = moment(pictures, [Values(0.5, 0), Values(0.5, 0)], Rows.guided(2), noise(4, 3, TEXT))
    assert now.update is not None and now.update.attn is not None
    gammas = now.update.attn[..., 0].tolist()
    assert gammas == [[0.5] * 3, [0.5] * 3, [0.5, 1.5, 0.5], [0.5] * 3]
    assert now.update.norm is None


def test_strengths_without_a_positive_denominator_are_refused() -> None:
    values = [Values(0, 0, "published", (-1.0,), (0.0,), (0.0,))]
    with pytest.raises(ValueError, match="more than -1"):
        moment([Picture((noise(5, TEXT),))], values, Rows.plain(1), noise(1, 5, TEXT))


def test_what_is_one_for_all_is_not_laid_out() -> None:
    """None is the published prior, no pull, no prior, and an output that is all of the main one."""
    for prior, norm, scales in (("published", 0.4, None), ("paper", 0.4, [[0.5]] * 2), ("paper", 0.0, [[0.5]] * 2)):
        now = moment([Picture()], [Values(0.2, norm, prior)], Rows.guided(1), noise(2, 5, TEXT))
        assert now.update is not None and now.update.attn is not None
        found = None if now.update.prior_scale is None else now.update.prior_scale.tolist()
        assert (found, now.update.norm is None) == (scales, norm == 0.0)
        assert (now.weight, now.groups, now.factors) == (None, (), None)
    idle = moment([Picture()], [Values()], Rows.guided(1), noise(2, 5, TEXT))
    assert idle.update is None
    alone = moment([Picture()], [Values(0.0, 0.4)], Rows.guided(1), noise(2, 5, TEXT))
    assert alone.update is not None and alone.update.attn is None
    assert alone.update.norm is not None and alone.update.norm.flatten().tolist() == [0.4, 0.4]


def test_rows_without_edits_keep_all_of_their_output() -> None:
    pictures = [Picture((noise(5, TEXT),)), Picture()]
    values = [Values(0.1, 0.0, "published", (0.25,), (0.0,), (0.0,)), Values()]
    now = moment(pictures, values, Rows.guided(2), noise(4, 5, TEXT))
    assert now.weight is not None
    assert now.weight.flatten().tolist() == pytest.approx([0.8, 1.0, 0.8, 1.0])


@pytest.mark.parametrize("drift", [False, True])
@pytest.mark.parametrize(
    ("values", "members"),
    [
        (Values(strengths=(0.5,), edit_attn=(0.0,), edit_norm=(0.0,)), [0]),
        (Values(0.1, strengths=(0.5,), edit_attn=(0.0,), edit_norm=(0.0,)), [None, 0]),
        (Values(0.0, 0.1, strengths=(0.5,), edit_attn=(0.0,), edit_norm=(0.0,)), [None, 0]),
        (Values(strengths=(0.5,), edit_attn=(0.1,), edit_norm=(0.0,)), [None, 0]),
        (Values(strengths=(0.5,), edit_attn=(0.0,), edit_norm=(0.1,)), [None, 0]),
        (Values(strengths=(0.0,), edit_attn=(0.1,), edit_norm=(0.0,)), []),
        (Values(strengths=(0.0,), edit_attn=(0.0,), edit_norm=(0.1,)), []),
        (Values(0.1, strengths=(0.0,), edit_attn=(0.0,), edit_norm=(0.0,)), []),
        (Values(0.1), []),
    ],
)
def test_whose_contexts_are_read(values: Values, members: list[int | None], drift: bool) -> None:
    """Without drift those that have a share and can differ from the main one; with it also those that will have one."""
    pictures = [Picture((noise(5, TEXT),) * len(values.strengths))]
    now = moment(pictures, [values], Rows.guided(1), noise(2, 5, TEXT), drift)
    found = [member.edit for group in now.groups for member in group.members]
    if drift and values.strengths:
        moves = bool(values.strengths[0] or values.edit_attn[0] or values.edit_norm[0])
        members = [None, 0] if moves else [None]
    assert sorted(found, key=str) == sorted(members, key=str)


def test_boosts_of_no_pull_are_nothing() -> None:
    now = moment([Picture(boosts=(2.0,))], [Values(0.0, 0.4)], Rows.guided(1), noise(2, 5, TEXT))
    assert now.update is not None and now.update.attn is None


def test_rows_that_do_not_follow_one_another_are_numbered() -> None:
    pictures = [Picture((noise(5, TEXT),)), Picture(), Picture((noise(5, TEXT),))]
    at_rest = Values(0, 0, "published", (0.5,), (0.0,), (0.0,))
    (group,) = moment(pictures, [at_rest, Values(), at_rest], Rows.plain(3), noise(3, 5, TEXT)).groups
    assert isinstance(group.rows, torch.Tensor) and group.rows.tolist() == [0, 2]
    (group,) = moment(pictures[1:], [Values(), at_rest], Rows.plain(2), noise(2, 5, TEXT)).groups
    assert group.rows == slice(1, 2)
