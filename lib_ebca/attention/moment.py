"""A plan's numbers at one evaluation, laid out for the rows of the batch: who is updated, who is averaged, how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib_ebca.attention.energy import PRIOR_SCALE, composition_weights
from lib_ebca.attention.picture import Picture, Rows, Values
from lib_ebca.attention.value_factors import ValueFactors, value_factors


@dataclass(frozen=True, eq=False)
class Update:
    """The numbers of one BCU step for the R rows of a context.

    Attributes:
        attn: (R, T or 1, 1): gamma_attn, times the boosts of the words in the conditional rows. None: no pull.
        norm: (R, 1, 1): gamma_norm. None: no prior.
        prior_scale: (R, 1): the factor of |k|^2 in the prior. None: 1 for all.
    """

    attn: Tensor | None
    norm: Tensor | None
    prior_scale: Tensor | None


@dataclass(frozen=True)
class Member:
    """One editorial context read by one row of the batch; ``edit`` is None for the unconditional embedding."""

    row: int
    picture: int
    edit: int | None


Where = slice | Tensor
"""Rows of a batch: a slice if they follow one another, so that reading them copies nothing, else their numbers."""


@dataclass(frozen=True, eq=False)
class Slot:
    """A stretch of a group's members in which every row of the batch occurs once, so that they can be added at once."""

    members: slice
    rows: Where


@dataclass(frozen=True, eq=False)
class Group:
    """Editorial contexts of equal length that go through a layer in one call.

    Attributes:
        members: whose they are, R of them.
        rows: the members' rows in the batch.
        slots: how the members are added to the output.
        weights: (R, 1, 1): each member's share of its row's output.
        update: BCU on these contexts, None if they stay as they are.
    """

    members: tuple[Member, ...]
    rows: Where
    slots: tuple[Slot, ...]
    weights: Tensor
    update: Update | None


@dataclass(frozen=True, eq=False)
class Moment:
    """Everything a layer needs to know about now.

    Attributes:
        rows: the batch that this was laid out for.
        update: BCU on the main context, None if it stays as it is.
        weight: (B, 1, 1): share of the main output in each row; None if it is all of it.
        groups: the editorial contexts that act.
        factors: of the main context's values, head by head; None if every one is 1.
    """

    rows: Rows
    update: Update | None
    weight: Tensor | None
    groups: tuple[Group, ...]
    factors: ValueFactors | None = None


def moment(
    pictures: Sequence[Picture], values: Sequence[Values], rows: Rows, given: Tensor, drift: bool = False
) -> Moment:
    """Lay the pictures' numbers out for a batch.

    Args:
        pictures: P of them.
        values: the numbers of each picture now.
        rows: the batch.
        given: (B, T, D), the main context; its length, type and device.
        drift: whether editorial contexts outlive an evaluation, so that even weightless ones must be updated.
    """
    layout = _Layout(given, torch.float64 if given.dtype == torch.float64 else torch.float32)
    members = _members(values, rows, drift)
    return Moment(
        rows,
        _main_update(layout, pictures, values, rows),
        _main_weight(layout, values, rows, members),
        _groups(layout, pictures, values, rows, members),
        value_factors(pictures, values, rows, given),
    )


@dataclass(frozen=True)
class _Layout:
    given: Tensor
    dtype: torch.dtype

    def column(self, numbers: Sequence[float]) -> Tensor:
        return torch.tensor(numbers, dtype=self.dtype, device=self.given.device).view(-1, 1, 1)

    def update(self, attn: Sequence[float], norm: Sequence[float], priors: Sequence[str]) -> Update | None:
        if not any(attn) and not any(norm):
            return None
        scales = [PRIOR_SCALE[prior] for prior in priors]
        return Update(
            self.column(attn) if any(attn) else None,
            self.column(norm) if any(norm) else None,
            None if set(scales) == {1.0} else self.column(scales).view(-1, 1),
        )

    def where(self, rows: Sequence[int]) -> Where:
        if list(rows) == list(range(rows[0], rows[0] + len(rows))):
            return slice(rows[0], rows[0] + len(rows))
        return torch.tensor(rows, device=self.given.device)


def _main_update(layout: _Layout, pictures: Sequence[Picture], values: Sequence[Values], rows: Rows) -> Update | None:
    now = [values[picture] for picture in rows.picture]
    # The prior's softmax runs over the tokens, so that each copy of one has a share of its weight.
    norms = [v.norm * rows.copies_of(row) for row, v in enumerate(now)]
    update = layout.update([v.attn for v in now], norms, [v.prior for v in now])
    if update is None or update.attn is None or all(picture.boosts is None for picture in pictures):
        return update
    length = layout.given.shape[1]
    factors = torch.ones(len(now), length, dtype=layout.dtype)
    for row, (picture, conditional) in enumerate(zip(rows.picture, rows.conditional, strict=True)):
        boosts = pictures[picture].boosts
        if conditional and boosts is not None:
            for copy in torch.chunk(factors[row], rows.copies_of(row)):
                copy[: len(boosts)] = torch.tensor(boosts, dtype=layout.dtype)
    return Update(update.attn * factors.to(layout.given.device)[..., None], update.norm, update.prior_scale)


def _members(values: Sequence[Values], rows: Rows, drift: bool) -> list[Member]:
    """Slot by slot and in the order of the rows, so that the rows of a slot follow one another where they can."""
    members = []
    slots = max([0, *(len(v.strengths) for v in values)])
    for slot in range(slots):
        for row, (picture, conditional) in enumerate(zip(rows.picture, rows.conditional, strict=True)):
            now = values[picture]
            if not conditional:
                if slot == 0 and _unconditional_differs(now, drift):
                    members.append(Member(row, picture, None))
            elif slot < len(now.strengths):
                moves = drift and (now.edit_attn[slot] or now.edit_norm[slot])
                if now.strengths[slot] or moves:
                    members.append(Member(row, picture, slot))
    return members


def _unconditional_differs(now: Values, drift: bool) -> bool:
    """Whether the unconditional embedding of the editorial terms is another than the main one by now.

    While both are the prompt embedding of the unconditional row, all terms of the average are equal: it is not taken.
    """
    moved = bool(now.attn or now.norm or any(now.edit_attn) or any(now.edit_norm) or drift)
    return moved and bool(any(now.strengths) or (drift and now.strengths))


def _main_weight(layout: _Layout, values: Sequence[Values], rows: Rows, members: Sequence[Member]) -> Tensor | None:
    averaged = {member.row for member in members}
    if not averaged:
        return None
    return layout.column(
        [
            composition_weights(values[picture].strengths)[0] if row in averaged else 1.0
            for row, picture in enumerate(rows.picture)
        ]
    )


def _groups(
    layout: _Layout, pictures: Sequence[Picture], values: Sequence[Values], rows: Rows, members: Sequence[Member]
) -> tuple[Group, ...]:
    gathered: dict[tuple[int, bool], list[Member]] = {}
    for member in members:
        now = values[member.picture]
        attn, norm = _gammas(now, member, rows)
        length = layout.given.shape[1] if member.edit is None else pictures[member.picture].edits[member.edit].shape[0]
        gathered.setdefault((length, bool(attn or norm)), []).append(member)
    groups = []
    for together in gathered.values():
        nows = [values[member.picture] for member in together]
        gammas = [_gammas(now, member, rows) for now, member in zip(nows, together, strict=True)]
        groups.append(
            Group(
                tuple(together),
                layout.where([member.row for member in together]),
                _slots(layout, together),
                layout.column([_share(now, member) for now, member in zip(nows, together, strict=True)]),
                layout.update([g[0] for g in gammas], [g[1] for g in gammas], [now.prior for now in nows]),
            )
        )
    return tuple(groups)


def _gammas(now: Values, member: Member, rows: Rows) -> tuple[float, float]:
    """A member's step sizes.

    The unconditional copy takes the mean of the edits' steps; they are made from the same rows, so that it is the step
    of the mean gammas.
    """
    if member.edit is not None:
        return now.edit_attn[member.edit], now.edit_norm[member.edit]
    count = len(now.strengths)
    return sum(now.edit_attn) / count, rows.copies_of(member.row) * sum(now.edit_norm) / count


def _share(now: Values, member: Member) -> float:
    """The share of one editorial output; the unconditional embedding stands for all of them at once."""
    _, shares = composition_weights(now.strengths)
    return sum(shares) if member.edit is None else shares[member.edit]


def _slots(layout: _Layout, members: Sequence[Member]) -> tuple[Slot, ...]:
    starts, seen = [0], set[int]()
    for index, member in enumerate(members):
        if member.row in seen:
            starts.append(index)
            seen = set()
        seen.add(member.row)
    stretches = (slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(members)], strict=True))
    return tuple(Slot(stretch, layout.where([m.row for m in members[stretch]])) for stretch in stretches)
