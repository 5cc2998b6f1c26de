"""Pictures that follow other pictures of their batch (Prompt-to-Prompt), laid out for the rows of an evaluation.

"Picture b follows picture a" is an index for each row, so that several sources fit into one batch. Conditional rows
follow conditional rows; the unconditional ones are left alone, as published.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lib_ebca.attention.layer_size import layer_size
from lib_ebca.attention.picture import Following, Picture, Rows
from lib_ebca.language.windows import held
from lib_ebca.methods.prompt_to_prompt import Mixture, Span, cross_windows, mixture, self_window


@dataclass(frozen=True, eq=False)
class Looked:
    """Rows whose maps of some words are summed for a picture's local blend."""

    picture: int
    source_row: int
    row: int


@dataclass(frozen=True, eq=False)
class FollowedRows:
    """One evaluation's following.

    Attributes:
        reading: (B,), the row whose queries and keys each row reads.
        rows: (R,), the rows that follow now.
        route: (R, T, T); empty where nobody follows.
        own_rows: (K,), the rows that keep a part of their own map, and ``own``, (K, T, 1), that part; None: no row.
        looked: what local blend looks at.
        selves: pairs of a row and its source whose self-attention follows, with the largest layer that does.
    """

    reading: Tensor
    rows: Tensor
    route: Tensor
    own_rows: Tensor | None
    own: Tensor | None
    looked: tuple[Looked, ...]
    selves: tuple[tuple[int, int, int], ...]

    @property
    def acts(self) -> bool:
        """Whether a cross-attention layer has anything to do."""
        return bool(len(self.rows)) or bool(self.looked)


@dataclass
class Follower:
    """The following of a pass, and what local blend has seen of it so far.

    Attributes:
        pictures: the batch's.
        steps: sampling steps of the pass.
        sums: by picture, the maps of the source's and of the own words, (pixels,) each.
    """

    pictures: Sequence[Picture]
    steps: int
    sums: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _mixtures: dict[tuple[int, int], Mixture] = field(default_factory=dict)
    _laid: dict[tuple[int, Rows, tuple[int, int]], FollowedRows] = field(default_factory=dict)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The pictures that follow another."""
        return tuple(number for number, picture in enumerate(self.pictures) if picture.following is not None)

    def at(self, evaluation: int, rows: Rows, size: tuple[int, int], like: Tensor) -> FollowedRows | None:
        """The rows' following at an evaluation, or None if nothing follows.

        Args:
            evaluation: number within the pass, from 0.
            rows: the batch.
            size: height and width of the latent.
            like: a tensor of the layers' type and device.
        """
        evaluation = min(evaluation, self.steps)
        key = (evaluation, rows, size)
        if key not in self._laid:
            self._laid[key] = self._lay(evaluation, rows, size, like)
        now = self._laid[key]
        return now if now.acts or now.selves else None

    def mixture(self, picture: int, evaluation: int) -> Mixture:
        """What the followed map of a picture is made of."""
        key = (picture, evaluation)
        if key not in self._mixtures:
            following = self.following(picture)
            length = len(following.alignment.own)
            # The words' windows count the spare evaluation of PNDM, as published.
            cross = _held(following.cross, self.steps + 1, self.steps)
            words = [(rows, _held(span, self.steps + 1, self.steps)) for rows, span in following.words]
            windows = cross_windows(self.steps, length, cross, words)
            made = mixture(following.alignment, windows[evaluation], following.factors, following.kept)
            self._mixtures[key] = made
        return self._mixtures[key]

    def following(self, picture: int) -> Following:
        """Of a picture that follows."""
        following = self.pictures[picture].following
        assert following is not None
        return following

    def add(self, picture: int, source: Tensor, own: Tensor) -> None:
        """Add maps of words, (pixels,), to what local blend has seen."""
        if picture in self.sums:
            before = self.sums[picture]
            source, own = before[0] + source, before[1] + own
        self.sums[picture] = source, own

    def level(self, pixels: int | None, size: tuple[int, int]) -> int:
        """Pixels of the layers that are meant: those asked for, or those of a quarter of the latent's sides."""
        return pixels or math.prod(_quarter(size))

    def shape(self, pixels: int | None, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the layers that are meant."""
        return _quarter(size) if pixels is None else layer_size(pixels, *size)

    def _lay(self, evaluation: int, rows: Rows, size: tuple[int, int], like: Tensor) -> FollowedRows:
        reading = list(range(len(rows.picture)))
        following, kept, looked, selves = [], [], [], []
        for row, source_row in _pairs(rows, self.pictures):
            number = rows.picture[row]
            asked = self.following(number)
            now = self.mixture(number, evaluation)
            if not now.idle:
                reading[row] = source_row
                following.append((row, now.route))
                if now.keeps:
                    kept.append((row, now.own))
            if asked.blend is not None:
                looked.append(Looked(number, source_row, row))
            if evaluation in self_window(_held(asked.self_, self.steps, self.steps), self.steps):
                selves.append((row, source_row, self.level(asked.pixels, size)))
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32

        def index(numbers: Sequence[int]) -> Tensor:
            return torch.tensor(numbers, dtype=torch.long, device=like.device)

        routes = torch.stack([route for _, route in following]) if following else torch.tensor([])
        return FollowedRows(
            index(reading),
            index([row for row, _ in following]),
            routes.to(like.device, dtype),
            index([row for row, _ in kept]) if kept else None,
            torch.stack([own for _, own in kept])[..., None].to(like.device, dtype) if kept else None,
            tuple(looked),
            tuple(selves),
        )


def follower(pictures: Sequence[Picture], steps: int) -> Follower | None:
    """The following of a pass, or None if no picture follows another."""
    made = Follower(pictures, steps)
    return made if made.numbers else None


def self_reading(now: FollowedRows, rows: int, pixels: int) -> list[int] | None:
    """The row whose self-attention map each row takes in a layer of that many pixels; None: each its own."""
    reading = list(range(rows))
    for row, source_row, largest in now.selves:
        if pixels <= largest:
            reading[row] = source_row
    return None if reading == list(range(rows)) else reading


def followed_output(
    now: FollowedRows,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """A layer's output where some rows take the maps of others.

    Source map times route times values is the source's queries and keys with routed values; what is left of the own
    map is a second call, for the rows that have any.

    Args:
        now: who follows whom.
        query: (B, h, N, d).
        keys: (B, T, C).
        values: (B, T, C), times the rows' shares and factors.
        attend: the fused attention, (B, N, C).
    """
    if not len(now.rows):
        return attend(query, keys, values)
    routed = values.index_copy(0, now.rows, now.route.to(values.dtype) @ values[now.rows])
    output = attend(query.index_select(0, now.reading), keys.index_select(0, now.reading), routed)
    if now.own_rows is None or now.own is None:
        return output
    own = values[now.own_rows] * now.own.to(values.dtype)
    return output.index_add(0, now.own_rows, attend(query[now.own_rows], keys[now.own_rows], own))


def _held(span: Span, count: int, steps: int) -> Span:
    # A span without length is nothing here, also at the end of the pass.
    return held(*span, count, steps) if span[0] < span[1] else span


def _quarter(size: tuple[int, int]) -> tuple[int, int]:
    # Each halving rounds up.
    return -(-size[0] // 4), -(-size[1] // 4)


def _pairs(rows: Rows, pictures: Sequence[Picture]) -> list[tuple[int, int]]:
    """Each conditional row of a picture that follows, with its source's: the n-th with the n-th."""
    by_picture: dict[int, list[int]] = {}
    for row, (picture, conditional) in enumerate(zip(rows.picture, rows.conditional, strict=True)):
        if conditional:
            by_picture.setdefault(picture, []).append(row)
    return [
        (row, source_row)
        for picture, own in by_picture.items()
        if (following := pictures[picture].following) is not None
        for row, source_row in zip(own, by_picture.get(following.source, []), strict=False)
    ]
