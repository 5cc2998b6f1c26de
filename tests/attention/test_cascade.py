"""The cascade: fresh at each evaluation or drifting, its clock, and sizes of layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.layer_size import UnknownSizeError, layer_size
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.language.plan import ContextUpdate, Edit, Plan
from tests.tiny_attention import TEXT, edit_contexts, evaluate, layers, noise, scene, scenes


def editorial(cascade: Cascade) -> torch.Tensor:
    """The editorial contexts as the last layer left them."""
    assert cascade.evaluation is not None
    return torch.cat([stream.context for stream in cascade.evaluation.streams])


def test_the_main_context_starts_afresh_and_the_caller_keeps_its_tensor() -> None:
    batch, stack = scenes()["update and edits"], layers(2)
    before = batch.context.clone()
    edits = [edit.clone() for edit in batch.pictures[0].edits]
    cascade = batch.cascade(drift=True)
    ends = []
    for _ in range(2):
        evaluate(stack, cascade, batch)
        assert cascade.evaluation is not None
        ends.append(cascade.evaluation.main)
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], before)
    assert torch.equal(batch.context, before)
    for edit, kept in zip(batch.pictures[0].edits, edits, strict=True):
        assert torch.equal(edit, kept)


def test_editorial_contexts_start_afresh_unless_they_drift() -> None:
    batch, stack = scenes()["edits that move"], layers(2)
    fresh, drifting = batch.cascade(), batch.cascade(drift=True)
    ends: dict[Cascade, list[torch.Tensor]] = {fresh: [], drifting: []}
    for cascade, seen in ends.items():
        for _ in range(3):
            evaluate(stack, cascade, batch)
            seen.append(editorial(cascade))
    assert torch.equal(ends[fresh][0], ends[fresh][2])
    assert torch.equal(ends[drifting][0], ends[fresh][0])
    moved = [float((end - ends[fresh][0]).abs().max()) for end in ends[drifting]]
    assert 0 == moved[0] < moved[1] < moved[2]


def test_what_drifted_is_read_after_the_gammas_have_ended() -> None:
    batch, stack = scenes()["edits that move"], layers(2)
    moving = batch.values[0]
    still = replace(moving, edit_attn=(0.0, 0.0), edit_norm=(0.0, 0.0))
    cascade = Cascade(batch.pictures, [Timetable((moving, still))], drift=True)
    evaluate(stack, cascade, batch)
    end = editorial(cascade)
    assert cascade.evaluation is not None
    order = [member for stream in cascade.evaluation.streams for member in stream.group.members]
    outputs = evaluate(stack, cascade, batch)
    moved = replace(batch, pictures=(Picture(tuple(end[i] for i, m in enumerate(order) if m.edit is not None)),))
    expected = evaluate(stack, Cascade(moved.pictures, [Timetable((still,))]), moved)
    torch.testing.assert_close(outputs[0][1], expected[0][1], rtol=1e-12, atol=1e-12)


def test_an_edit_without_weight_drifts_all_the_same() -> None:
    batch, stack = scenes()["edits that move"], layers(2)
    silent = replace(batch.values[0], strengths=(0.0, 0.0))
    cascade = Cascade(batch.pictures, [Timetable((silent, batch.values[0]))], drift=True)
    outputs = evaluate(stack, cascade, batch)
    for layer, output in zip(stack, outputs, strict=True):
        torch.testing.assert_close(output, layer(batch.hidden_states, batch.context), rtol=1e-12, atol=1e-12)
    later = evaluate(stack, cascade, batch)
    fresh = evaluate(stack, batch.cascade(), batch)
    assert not torch.allclose(later[0], fresh[0])


def test_a_host_that_runs_the_layers_twice_finds_the_context_fresh() -> None:
    batch, stack = scenes()["update"], layers(2)
    once, twice = batch.cascade(), batch.cascade()
    evaluate(stack, once, batch)
    evaluate(stack, twice, batch)
    assert twice.evaluation is not None and once.evaluation is not None
    first = twice.evaluation
    assert twice.enter(0, batch.context) is not first
    assert torch.equal(twice.evaluation.main, batch.context)
    assert twice.number == 0


def test_the_clock_counts_evaluations_and_can_be_set() -> None:
    batch, stack = scene([Picture()], [Values()]), layers()
    table = Timetable(tuple(Values(attn=gamma) for gamma in (0.0, 0.1, 0.2)))
    cascade = Cascade(batch.pictures, [table])
    steps = []
    for number in (None, None, None, None, 1, None):
        cascade.begin(batch.rows, batch.size, number)
        evaluation = cascade.enter(0, batch.context)
        update = evaluation.moment.update
        steps.append(0.0 if update is None or update.attn is None else float(update.attn.max()))
    # Beyond the end the last entry is repeated.
    assert steps == pytest.approx([0.0, 0.1, 0.2, 0.2, 0.1, 0.2])
    assert stack


def test_pictures_without_a_timetable_are_refused() -> None:
    with pytest.raises(ValueError, match="2 pictures have 1 timetables"):
        Cascade([Picture()] * 2, [Timetable((Values(),))])


def test_a_timetable_is_the_plans_schedules() -> None:
    plan = Plan(
        ContextUpdate(0.01, 0.02, schedule="reverse_step", prior="paper"),
        (Edit("dog", 0.75, start=0.5), Edit("cat", -0.65, until=0.5, attn=1e-3, norm=2e-3)),
    )
    table = Timetable.of(plan, 4)
    assert len(table.values) == 5
    assert table.at(0) == Values(0.01, 0.02, "paper", (0.0, -0.65), (0.0, 1e-3), (0.0, 2e-3))
    assert table.at(3) == Values(0.01, 0.02, "paper", (0.75, 0.0), (0.0, 0.0), (0.0, 0.0))
    assert table.at(4) == table.at(99) == Values(0.0, 0.0, "paper", (0.75, 0.0), (0.0, 0.0), (0.0, 0.0))
    assert Timetable.of(Plan(), 1).values == (Values(),) * 2


def test_masks_are_laid_over_the_layer_corner_to_corner() -> None:
    mask = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    cascade = Cascade([Picture(mask=mask), Picture()], [Timetable((Values(attn=0.1),))] * 2)
    cascade.begin(Rows.guided(2), (4, 6))
    cascade.enter(0, noise(4, 5, TEXT))
    weight = cascade.pixel_weight(6)
    assert weight is not None
    row = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    assert torch.equal(weight[0].view(2, 3), row.expand(2, 3))
    assert torch.equal(weight[2], weight[0])
    assert torch.equal(weight[1], torch.ones(6, dtype=torch.float64))
    assert torch.equal(weight[3], weight[1])


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 4))
def test_sizes_of_halved_latents(height: int, width: int, halvings: int) -> None:
    expected = (height, width)
    for _ in range(halvings):
        expected = (-(-expected[0] // 2), -(-expected[1] // 2))
    found = layer_size(expected[0] * expected[1], height, width)
    assert found[0] * found[1] == expected[0] * expected[1]
    assert abs(found[0] * width - found[1] * height) <= max(height, width) * 2


def test_a_size_that_no_halving_gives_is_refused() -> None:
    with pytest.raises(UnknownSizeError, match="a layer of 100 pixels does not come from halving a latent of 64 x 64"):
        layer_size(100, 64, 64)


def test_editorial_contexts_come_in_the_precision_of_the_pass() -> None:
    batch = scene(
        [Picture(tuple(edit.half() for edit in edit_contexts(1)))], [Values(0, 0, "paper", (1.0,), (0,), (0,))]
    )
    cascade = batch.cascade()
    cascade.begin(batch.rows, batch.size)
    assert cascade.enter(0, batch.context).streams[0].context.dtype == torch.float64
    cascade.begin(batch.rows, batch.size)
    assert cascade.enter(0, batch.context.half()).main.dtype == torch.float32


def test_what_is_laid_out_beforehand_is_known_as_such() -> None:
    batch, stack = scenes()["update and edits"], layers(2)
    cascade = batch.cascade()
    cascade.begin(batch.rows, batch.size, given=batch.context)
    known = [cascade.prepared]
    evaluate(stack, cascade, batch)
    assert [*known, cascade.prepared] == [True, False]
    assert cascade.evaluation is not None
    assert cascade.evaluation.served == {0, 1}
