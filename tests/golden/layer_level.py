"""Layer level: one cross-attention layer, its output and what it adds to each context."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.layer import attention
from lib_ebca.attention.moment import Member
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.attention.projections import Projections
from tests.golden.case import Case


def run(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``output_state``, ``C_main`` and ``C_edit_i`` of a layer case."""
    edits = range(case.meta.get("n_edits", 0))
    output, main, _ = _evaluate(case, dtype, tuple(edits))
    found = {"output_state": output, "C_main": main}
    for edit in edits:
        # In a cascade the unconditional rows take the mean of the edits' steps; alone, an edit shows its own.
        found[f"C_edit_{edit}"] = _evaluate(case, dtype, (edit,))[2]
    return found


def _evaluate(case: Case, dtype: torch.dtype, edits: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Of a layer with some edits: the output, the main step, and the step of edit 0 with its unconditional rows."""
    context, hidden_states = case.given("in.context", dtype), case.given("in.hidden_states", dtype)
    rows = rows_of(context.shape[0])
    pictures = pictures_of(case, dtype, edits)
    # Drift, because the editorial tensor of these cases has an unconditional row of its own, as after earlier layers.
    cascade = Cascade(pictures, [Timetable((values_of(case.meta, edits),))] * len(pictures), drift=True)
    size = (16, 16) if "in.mask_latent" not in case.tensors else tuple(case.tensors["in.mask_latent"].shape[-2:])
    cascade.begin(rows, (int(size[0]), int(size[1])))
    # The contexts are kept in float64 here: a step of 1e-9 would be lost in a float32 context.
    evaluation = cascade.enter(0, context)
    evaluation.main = evaluation.main.double()
    for stream in evaluation.streams:
        stream.context = torch.stack([_editorial(case, member, edits) for member in stream.group.members])
    before = [stream.context for stream in evaluation.streams]

    layer = _projections(case, dtype)
    output = attention(layer, cascade, hidden_states, context, lambda read: _stock(layer, hidden_states, read), True)

    step = torch.zeros_like(context, dtype=torch.float64)
    for stream, start in zip(evaluation.streams, before, strict=True):
        for member, moved in zip(stream.group.members, stream.context - start, strict=True):
            if member.edit in (None, 0):
                step[member.row] = moved
    return output, evaluation.main - context, step


def _editorial(case: Case, member: Member, edits: tuple[int, ...]) -> Tensor:
    """The row of ``in.edit_embeds`` that a member reads, in float64."""
    count = case.tensors["in.context"].shape[0] // 2
    block = 0 if member.edit is None else edits[member.edit] + 1
    return case.given("in.edit_embeds", torch.float64)[block * count + member.picture]


def rows_of(batch: int) -> Rows:
    """Unconditional rows first; a batch of one is conditional."""
    return Rows.plain(1) if batch == 1 else Rows.guided(batch // 2)


def pictures_of(case: Case, dtype: torch.dtype, edits: tuple[int, ...]) -> list[Picture]:
    """The pictures of a layer or UNet case, with some of its edits."""
    count = max(1, case.tensors["in.context"].shape[0] // 2)
    boosts = boosts_of(case.meta, case.tensors["in.context"].shape[1])
    mask = case.given("in.mask_latent", dtype)[0, 0] if "in.mask_latent" in case.tensors else None
    pictures = []
    for picture in range(count):
        # Unconditional rows first, then a block of pictures for each edit.
        contexts = tuple(case.given("in.edit_embeds", dtype)[(edit + 1) * count + picture] for edit in edits)
        pictures.append(Picture(contexts, boosts, mask))
    return pictures


def boosts_of(meta: dict[str, Any], tokens: int) -> tuple[float, ...] | None:
    """A case's up-weights, one for each token."""
    if "token_indices" not in meta:
        return None
    factors = [1.0] * tokens
    for token, factor in zip(meta["token_indices"], meta["token_upweight"], strict=True):
        factors[token] = factor
    return tuple(factors)


def values_of(meta: dict[str, Any], edits: tuple[int, ...]) -> Values:
    """The numbers of a layer or UNet case, with some of its edits."""
    return Values(
        meta["gamma_attn"],
        meta["gamma_norm"],
        "published",
        tuple(signed(meta["alpha"][i], meta["editing_direction"][i]) for i in edits),
        tuple(meta["gamma_attn_comp"][i] for i in edits),
        tuple(meta["gamma_norm_comp"][i] for i in edits),
    )


def signed(strength: float, direction: int) -> float:
    """A strength with its direction in its sign: only 1 adds."""
    return strength if direction == 1 else -strength


def _projections(case: Case, dtype: torch.dtype) -> Projections:
    to_q, to_k, to_v, to_out = (_linear(case, name, dtype) for name in ("to_q", "to_k", "to_v", "to_out"))
    return Projections(1, case.name, to_q, to_k, to_v, to_out, case.meta["heads"], case.meta["scale"])


def _linear(case: Case, name: str, dtype: torch.dtype) -> nn.Linear:
    weight = case.given(f"w.{name}", dtype)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=f"b.{name}" in case.tensors, dtype=dtype)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if f"b.{name}" in case.tensors:
        linear.bias = nn.Parameter(case.given(f"b.{name}", dtype), requires_grad=False)
    return linear


def _stock(layer: Projections, hidden_states: Tensor, context: Tensor) -> Tensor:
    """Plain attention, written out."""
    query, key, value = (
        part.unflatten(-1, (layer.heads, -1)).transpose(1, 2)
        for part in (layer.to_q(hidden_states), layer.to_k(context), layer.to_v(context))
    )
    scale = query.shape[-1] ** -0.5 if layer.scale is None else layer.scale
    probabilities = (scale * query @ key.transpose(-1, -2)).softmax(-1)
    return layer.to_out((probabilities @ value).transpose(1, 2).flatten(2))
