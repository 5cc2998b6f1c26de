"""What is recorded: the energies of the written formulas, and maps that are probabilities."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_ebca.attention.energy import conditional_energy, likelihood_energy, prior_energy, split_heads
from lib_ebca.attention.layer import conditional_rows
from lib_ebca.attention.picture import Picture, Values
from lib_ebca.attention.record import AttentionMaps, Recorder
from tests.tiny_attention import HEADS, evaluate, layers, scene, scenes


def test_the_energies_are_those_before_the_layers_update() -> None:
    given, stack = scenes()["a batch of different plans"].to(torch.float32), layers(2, torch.float32)
    recorder = Recorder(energies=True)
    cascade = given.cascade(recorder=recorder)
    for _ in range(2):
        evaluate(stack, cascade, given)
    assert [(record.step, record.layer, record.name) for record in recorder.energies] == [
        (step, layer, f"layer {layer}") for step in range(2) for layer in range(2)
    ]
    rows = conditional_rows(given.rows.picture, given.rows.conditional)
    query, keys = stack[0].to_q(given.hidden_states)[rows], stack[0].to_k(given.context)[rows]
    first, (heads_query, heads_key) = recorder.energies[0], (split_heads(part, HEADS) for part in (query, keys))
    scale = stack[0].scale
    for picture in range(len(given.pictures)):
        q, k = heads_query[picture], heads_key[picture]
        assert first.likelihood[picture] == pytest.approx(float(likelihood_energy(q, k, scale).mean()), rel=1e-5)
        assert first.conditional[picture] == pytest.approx(
            float(conditional_energy(q, k, scale).mean(0).sum()), rel=1e-5
        )
        assert first.prior[picture] == pytest.approx(float(prior_energy(keys[picture])), rel=1e-5)
    # The second layer reads the updated context; the picture whose plan is empty reads the prompt.
    unmoved = prior_energy(stack[1].to_k(given.context)[rows])
    assert recorder.energies[1].prior[1] == pytest.approx(float(unmoved[1]), rel=1e-5)
    assert recorder.energies[1].prior[0] != pytest.approx(float(unmoved[0]), rel=1e-3)


def test_the_update_lowers_the_posterior_energy_of_the_next_layer() -> None:
    given = scene([Picture()], [Values(1e-3, 1e-3, "paper")]).to(torch.float32)
    (layer,) = layers(1, torch.float32)
    posterior = []
    for values in (given.values[0], Values()):
        recorder = Recorder(energies=True)
        evaluate([layer, layer], replace(given, values=(values,)).cascade(recorder=recorder), given)
        scale = layer.scale
        # gamma_attn absorbs beta, and the heads' energies add up.
        posterior.append([HEADS * r.conditional[0] / scale + r.prior[0] for r in recorder.energies])
    (before, after), (_, untouched) = posterior
    assert before == untouched
    assert after < before - 1e-3


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("name", ["update and edits", "edits", "guidance off"])
def test_maps_are_probabilities_of_the_conditional_rows(name: str, own: bool) -> None:
    given, stack = scenes()[name].to(torch.float32), layers(2, torch.float32)
    recorder = Recorder(maps=True)
    cascade = given.cascade(recorder=recorder)
    for _ in range(3):
        evaluate(stack, cascade, given, own)
    assert not recorder.energies
    assert recorder.maps.sizes == ((6, 4),)
    for picture in range(len(given.pictures)):
        whole = recorder.maps.map(picture, range(7))
        assert whole.shape == (6, 4)
        torch.testing.assert_close(whole, torch.ones(6, 4))
        part = recorder.maps.map(picture, [2, 3])
        assert 0 <= float(part.min()) < float(part.max()) <= 1


def test_the_first_layers_map_written_out() -> None:
    given, (layer,) = scenes()["update"].to(torch.float32), layers(1, torch.float32)
    recorder = Recorder(maps=True)
    evaluate([layer], given.cascade(recorder=recorder), given)
    query, key = (split_heads(part, HEADS)[1] for part in (layer.to_q(given.hidden_states), layer.to_k(given.context)))
    expected = (layer.scale * query @ key.mT).softmax(-1).mean(0)[:, 3].view(6, 4)
    torch.testing.assert_close(recorder.maps.map(0, [3]), expected)


def test_the_finest_size_answers() -> None:
    maps = AttentionMaps()
    maps.add(torch.full((1, 6, 2), 0.25), (2, 3))
    maps.add(torch.full((1, 24, 2), 0.5), (4, 6))
    maps.add(torch.full((1, 24, 2), 1.0), (4, 6))
    assert maps.sizes == ((4, 6), (2, 3))
    assert torch.equal(maps.map(0, [1]), torch.full((4, 6), 0.75))
    assert torch.equal(maps.map(0, [0, 1], (2, 3)), torch.full((2, 3), 0.5))


def test_a_layer_of_unknown_size_is_left_out_of_the_maps() -> None:
    given, stack = scenes()["update"].to(torch.float32), layers(1, torch.float32)
    recorder = Recorder(energies=True, maps=True)
    evaluate(stack, given.cascade(recorder=recorder), replace(given, size=(9, 9)))
    assert len(recorder.energies) == 1
    with pytest.raises(ValueError, match="no attention maps were recorded"):
        recorder.maps.map(0, [1])


def test_the_finest_is_the_one_of_most_pixels() -> None:
    maps = AttentionMaps()
    for size in ((3, 3), (2, 9), (10, 2), (1, 5), (16, 1)):
        maps.add(torch.ones(1, size[0] * size[1], 1), size)
    assert maps.sizes == ((10, 2), (2, 9), (16, 1), (3, 3), (1, 5))


@pytest.mark.parametrize(
    ("energies", "maps", "known", "unknown"),
    [(False, False, False, False), (True, False, True, True), (False, True, True, False), (True, True, True, True)],
)
def test_a_layer_is_shown_where_anything_of_it_is_kept(energies: bool, maps: bool, known: bool, unknown: bool) -> None:
    recorder = Recorder(energies, maps)
    assert (recorder.wants((4, 6)), recorder.wants(None)) == (known, unknown)
    assert not Recorder().wants((4, 6))


@pytest.mark.parametrize("own", [True, False])
def test_a_plan_that_does_nothing_is_recorded_as_well(own: bool) -> None:
    given, (layer,) = scene([Picture()] * 2, [Values()] * 2).to(torch.float32), layers(1, torch.float32)
    recorder = Recorder(energies=True, maps=True)
    evaluate([layer], given.cascade(recorder=recorder), given, own)
    query, key = (split_heads(part, HEADS) for part in (layer.to_q(given.hidden_states), layer.to_k(given.context)))
    for picture, row in enumerate((2, 3)):
        expected = (layer.scale * query[row] @ key[row].mT).softmax(-1).mean(0)[:, 3].view(6, 4)
        torch.testing.assert_close(recorder.maps.map(picture, [3]), expected)
    assert len(recorder.energies) == 1


def test_the_row_of_each_picture_is_its_first_conditional_one() -> None:
    assert conditional_rows((2, 0, 0, 2, 1, 2), (True, False, True, True, False, False)) == [2, 0]
    assert conditional_rows((0, 1), (False, False)) == []
