"""What hangs on one word of the code: who comes round again, what a kept tensor was made for, types, scales."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.energy import conditional_energy, likelihood_energy, split_heads
from lib_ebca.attention.kept import made_of, stamp
from lib_ebca.attention.layer import attention
from lib_ebca.attention.layer_size import UnknownSizeError, layer_size
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.attention.record import Recorder
from tests.tiny_attention import HEADS, TEXT, WIDTH, edit_contexts, evaluate, layers, noise, projections, scene, scenes


def test_a_model_of_one_layer_that_runs_twice_finds_the_context_fresh() -> None:
    batch = scenes()["update"]
    cascade = batch.cascade()
    cascade.begin(batch.rows, batch.size)
    first = cascade.enter(0, batch.context)
    first.main = first.main + 1
    assert cascade.enter(0, batch.context) is not first
    assert torch.equal(cascade.enter(0, batch.context).main, batch.context)


def test_a_mask_is_laid_out_for_the_rows_of_now() -> None:
    mask = torch.tensor([[0.0, 1.0]])
    cascade = Cascade([Picture(mask=mask), Picture()], [Timetable((Values(attn=0.1),))] * 2)
    found = []
    for rows in (Rows.guided(2), Rows.plain(2), Rows((1, 0), (True, True))):
        cascade.begin(rows, (2, 2))
        cascade.enter(0, noise(len(rows.picture), 5, TEXT))
        weight = cascade.pixel_weight(4)
        assert weight is not None
        found.append(weight)
    assert [len(weight) for weight in found] == [4, 2, 2]
    assert torch.equal(found[1], found[2].flip(0)) and not torch.equal(found[1], found[2])


def test_a_mask_that_is_changed_in_place_is_laid_out_again() -> None:
    mask = torch.ones(2, 2)
    cascade = Cascade([Picture(mask=mask)], [Timetable((Values(attn=0.1),))])
    cascade.begin(Rows.plain(1), (2, 2))
    cascade.enter(0, noise(1, 5, TEXT))
    before = cascade.pixel_weight(4)
    mask[0, 0] = 0.0
    after = cascade.pixel_weight(4)
    assert before is not None and after is not None
    assert before[0, 0] == 1.0 and after[0, 0] == 0.0


def test_boosts_are_laid_out_for_the_length_of_now() -> None:
    batch = scenes()["boosts"]
    cascade = batch.cascade()
    for length in (7, 14, 7):
        cascade.begin(batch.rows, batch.size)
        update = cascade.enter(0, noise(2, length, TEXT)).moment.update
        assert update is not None and update.attn is not None
        assert update.attn.shape == (2, length, 1)


@pytest.mark.parametrize("scale", [None, 0.9])
def test_a_layers_own_scale_is_used_in_output_and_record(scale: float | None) -> None:
    batch = scene([Picture(edit_contexts(1))], [Values(0, 0, "published", (0.5,), (0.0,), (0.0,))])
    (module,) = layers()
    layer = replace(projections(module), scale=scale)
    used = (WIDTH // HEADS) ** -0.5 if scale is None else scale
    recorder = Recorder(energies=True)
    cascade = batch.cascade(recorder=recorder)
    cascade.begin(batch.rows, batch.size)
    found = attention(layer, cascade, batch.hidden_states, batch.context, lambda context: context, own=True)

    def explicit(context: Tensor) -> Tensor:
        query, key, value = (
            split_heads(made, HEADS)
            for made in (module.to_q(batch.hidden_states), module.to_k(context), module.to_v(context))
        )
        maps = F.softmax(used * query @ key.transpose(-1, -2), -1)
        return module.to_out[0]((maps @ value).transpose(1, 2).flatten(2))

    edited = torch.stack([batch.context[0], batch.pictures[0].edits[0]])
    expected = (explicit(batch.context) + 0.5 * explicit(edited)) / 1.5
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    query = split_heads(module.to_q(batch.hidden_states), HEADS)[1:].float()
    key = split_heads(module.to_k(batch.context), HEADS)[1:].float()
    (record,) = recorder.energies
    assert record.likelihood[0] == pytest.approx(float(likelihood_energy(query, key, used).mean()), rel=1e-5)
    assert record.conditional[0] == pytest.approx(float(conditional_energy(query, key, used).mean(1).sum()), rel=1e-5)


def test_a_step_is_taken_back_in_the_keys_type() -> None:
    batch = scenes()["update"].to(torch.bfloat16)
    batch = replace(batch, context=torch.zeros_like(batch.context))
    cascade = batch.cascade()
    evaluate(layers(1, torch.bfloat16), cascade, batch)
    assert cascade.evaluation is not None
    moved = cascade.evaluation.main
    assert moved.dtype == torch.float32
    assert torch.equal(moved.bfloat16().float(), moved) and bool(moved.any())


def test_a_stamp_tells_every_change_that_torch_counts() -> None:
    tensor = torch.zeros(3)
    before = stamp(tensor)
    assert stamp(tensor) == before
    tensor.add_(1)
    assert stamp(tensor) != before
    assert stamp(tensor.clone()) != stamp(tensor)
    with torch.inference_mode():
        assert stamp(torch.zeros(3)) is None
    assert stamp(torch.zeros(3, device="meta")) == ()


def test_a_module_is_told_by_its_weights_and_its_adapters() -> None:
    plain, bare = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2, bias=False)
    for module in (plain, bare):
        before = made_of([module])
        assert made_of([module]) == before
        with torch.no_grad():
            module.weight.mul_(2)
        assert made_of([module]) != before
    before = made_of([plain])
    with torch.no_grad():
        plain.bias.add_(1)
    assert made_of([plain]) != before
    wrapped = torch.nn.Sequential(plain)
    before = made_of([wrapped])
    vars(wrapped)["scaling"] = {"default": 1.0}
    assert made_of([wrapped]) != before
    assert made_of([plain, bare]) != made_of([bare, plain])


def test_weights_of_inference_mode_are_told_by_their_place() -> None:
    with torch.inference_mode():
        module = torch.nn.Linear(3, 2)
        other = torch.nn.Parameter(module.weight.clone(), requires_grad=False)
    before = made_of([module])
    assert made_of([module]) == before
    module.weight = other
    assert made_of([module]) != before


def test_a_layer_may_be_of_one_pixel() -> None:
    assert layer_size(1, 5, 3) == (1, 1)
    assert layer_size(2, 6, 3) == (2, 1)
    assert layer_size(15, 5, 3) == (5, 3)
    for pixels in (0, 3, 30):
        with pytest.raises(UnknownSizeError):
            layer_size(pixels, 5, 3)
