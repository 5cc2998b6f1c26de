"""Small random cross-attention layers in a row, and passes of a cascade through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.layer import attention
from lib_ebca.attention.moment import Member
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.attention.projections import Projections

WIDTH, TEXT, HEADS = 24, 16, 3


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal random numbers, the same in every precision."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def layers(count: int = 1, dtype: torch.dtype = torch.float64) -> list[Attention]:
    """diffusers' own layers, with weights at which attention is neither flat nor hard."""
    built = []
    for number in range(count):
        layer = Attention(WIDTH, cross_attention_dim=TEXT, heads=HEADS, dim_head=WIDTH // HEADS).to(dtype)
        for place, parameter in enumerate(layer.parameters()):
            parameter.data = 0.3 * noise(*parameter.shape, seed=100 * number + place, dtype=dtype)
        built.append(layer.requires_grad_(False))
    return built


def projections(layer: Attention, index: int = 0) -> Projections:
    """What the core sees of a layer."""
    return Projections(index, f"layer {index}", layer.to_q, layer.to_k, layer.to_v, layer.to_out[0], layer.heads)


@dataclass(frozen=True, eq=False)
class Scene:
    """A batch: its pictures, their numbers, its rows, and what the host brings."""

    pictures: tuple[Picture, ...]
    values: tuple[Values, ...]
    rows: Rows
    context: Tensor
    hidden_states: Tensor
    size: tuple[int, int] = (6, 4)

    def cascade(self, **options: object) -> Cascade:
        """A pass in which every evaluation has the same numbers."""
        timetables = [Timetable((values,)) for values in self.values]
        return Cascade(self.pictures, timetables, **options)  # type: ignore[arg-type]  # options of several types

    def to(self, dtype: torch.dtype) -> Scene:
        """The same scene in another precision."""
        return Scene(
            self.pictures, self.values, self.rows, self.context.to(dtype), self.hidden_states.to(dtype), self.size
        )

    def alone(self, picture: int) -> Scene:
        """One picture of the batch in a batch of its own."""
        rows = [row for row, owner in enumerate(self.rows.picture) if owner == picture]
        return Scene(
            (self.pictures[picture],),
            (self.values[picture],),
            Rows((0,) * len(rows), tuple(self.rows.conditional[row] for row in rows)),
            self.context[rows],
            self.hidden_states[rows],
            self.size,
        )


def scene(pictures: Sequence[Picture], values: Sequence[Values], rows: Rows | None = None, tokens: int = 7) -> Scene:
    """A batch of random contexts and hidden states; the unconditional rows are alike, the others are not."""
    rows = Rows.guided(len(pictures)) if rows is None else rows
    context = noise(len(rows.picture), tokens, TEXT, seed=1)
    context[[row for row, conditional in enumerate(rows.conditional) if not conditional]] = noise(tokens, TEXT, seed=2)
    return Scene(tuple(pictures), tuple(values), rows, context, noise(len(rows.picture), 24, WIDTH, seed=3))


def edit_contexts(count: int, *, tokens: int = 7, seed: int = 10) -> tuple[Tensor, ...]:
    """The contexts of some editorial prompts."""
    return tuple(noise(tokens, TEXT, seed=seed + number) for number in range(count))


def evaluate(stack: Sequence[Attention], cascade: Cascade, given: Scene, own: bool = True) -> list[Tensor]:
    """One evaluation: every layer reads the same hidden states; their outputs, in order."""
    cascade.begin(given.rows, given.size)
    return [
        attention(
            projections(layer, index),
            cascade,
            given.hidden_states,
            given.context,
            lambda context, layer=layer: layer(given.hidden_states, context),  # type: ignore[misc]  # mypy cannot infer a lambda's default
            own,
        )
        for index, layer in enumerate(stack)
    ]


def scenes() -> dict[str, Scene]:
    """Every way in which a plan can act."""
    boosts = (1.0, 2.5, 1.0, 0.0, 1.0)
    mask = torch.zeros(12, 8)
    mask[3:, :5] = 1
    longer = edit_contexts(1, tokens=14, seed=20)
    plain = Picture()
    return {
        "update": scene([plain], [Values(0.2, 0.4)]),
        "paper prior": scene([plain], [Values(0.2, 0.4, "paper")]),
        "pull alone": scene([plain], [Values(0.2, 0.0)]),
        "prior alone": scene([plain], [Values(0.0, 0.4)]),
        "boosts": scene([Picture(boosts=boosts)], [Values(0.2, 0.4)]),
        "mask": scene([Picture(mask=mask)], [Values(0.2, 0.4)]),
        "edits": scene([Picture(edit_contexts(2))], [Values(0, 0, "published", (0.7, -0.4), (0, 0), (0, 0))]),
        "edits that move": scene(
            [Picture(edit_contexts(2))], [Values(0, 0, "published", (0.7, -0.4), (0.1, 0.2), (0.3, 0.1))]
        ),
        "one edit moves": scene(
            [Picture(edit_contexts(2))], [Values(0, 0, "published", (0.7, -0.4), (0.1, 0), (0.3, 0))]
        ),
        "update and edits": scene(
            [Picture((*edit_contexts(1), *longer), boosts, mask)],
            [Values(0.2, 0.4, "published", (0.7, 0.4), (0.1, 0.0), (0.3, 0.0))],
        ),
        "guidance off": scene(
            [Picture(edit_contexts(1))] * 2, [Values(0.2, 0.4, "published", (0.7,), (0.1,), (0.3,))] * 2, Rows.plain(2)
        ),
        "unconditional rows alone": scene(
            [Picture(edit_contexts(1))] * 2,
            [Values(0.2, 0.4, "published", (0.7,), (0.1,), (0.3,))] * 2,
            Rows((0, 1), (False, False)),
        ),
        "a batch of different plans": scene(
            [
                Picture((*edit_contexts(2), *longer), boosts),
                plain,
                Picture(edit_contexts(1, seed=30), mask=mask),
                plain,
                Picture(longer),
            ],
            [
                Values(0.2, 0.4, "published", (0.7, -0.4, 0.3), (0.1, 0.0, 0.2), (0.3, 0.0, 0.1)),
                Values(),
                Values(0.3, 0.0, "paper", (0.5,), (0.0,), (0.0,)),
                Values(-0.2, 0.1, "paper"),
                Values(0.0, 0.0, "published", (0.9,), (0.0,), (0.0,)),
            ],
        ),
    }


def contexts(cascade: Cascade) -> dict[Member | None, Tensor]:
    """Every context as the last layer left it; the main one under None."""
    assert cascade.evaluation is not None
    found: dict[Member | None, Tensor] = {None: cascade.evaluation.main}
    for stream in cascade.evaluation.streams:
        found.update(zip(stream.group.members, stream.context, strict=True))
    return found
