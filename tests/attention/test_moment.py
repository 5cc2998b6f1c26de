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
