"""Latents moved towards subjects, on layers whose attention is that of the averaged latent: no UNet is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.excitation import Excitation
from lib_ebca.attention.layer_size import layer_size
from lib_ebca.attention.subjects import Subject, Subjects
from lib_ebca.attention.watcher import EnoughRead, Watcher
from lib_ebca.attention.weighted_watcher import WeightedWatcher
from tests.tiny_attention import noise

LEVELS = (1, 2, 1)
TOKENS, WIDTH, HEADS = 6, 4, 2
HEIGHT, BREADTH = 16, 8
TEXT = (False, True, True, True, False, False)
CAT, DOG = Subject("cat", (1,)), Subject("dog", (2,), scale=5.0)
HALVES = (torch.tensor([0.5, 0.0]), torch.tensor([0.25, 0.0]), torch.tensor([0.0, 0.25]))
FROG = Subject("frog", (3,), heads=HALVES)


def model(ran: list[int] | None = None) -> Callable[[Tensor, list[int], Cascade], None]:
    """Runs layers of LEVELS, with two heads, whose queries are the averaged latents.

    `ran` takes the layers, and one more where the rest runs.
    """

    def evaluate(latents: Tensor, rows: list[int], cascade: Cascade) -> None:
        assert cascade.recorder is not None
        for layer, level in enumerate(LEVELS):
            if ran is not None:
                ran.append(layer)
            size = (-(-latents.shape[-2] // 2**level), -(-latents.shape[-1] // 2**level))
            query = F.adaptive_avg_pool2d(latents, size).flatten(2).transpose(1, 2).unflatten(-1, (HEADS, -1))
            query = query.transpose(1, 2)
            key = noise(1, HEADS, TOKENS, WIDTH // HEADS, seed=layer).expand(len(rows), -1, -1, -1)
            if cascade.recorder.wants(layer_size(query.shape[2], *latents.shape[-2:])):
                cascade.recorder.see(0, layer, str(layer), query, key, 1.0, size, range(len(rows)))
        if ran is not None:
            ran.append(len(LEVELS))

    return evaluate


def latents(pictures: int = 1) -> Tensor:
    return noise(pictures, WIDTH, HEIGHT, BREADTH, seed=5)


@pytest.mark.parametrize("subjects", [(CAT,), (CAT, DOG), (FROG,), (CAT, FROG)])
def test_a_step_brings_the_subjects_more_attention(subjects: tuple[Subject, ...]) -> None:
    excitation = Excitation([Subjects(subjects, TEXT)], 10, LEVELS)
    assert excitation.wants(1)
    assert not excitation.wants(5)
    before = latents()
    moved = excitation.altered(1, before, model())
    again = Excitation([Subjects(subjects, TEXT)], 10, LEVELS)
    again.altered(1, moved, model())
    first, second = excitation.records[0].scores, again.records[0].scores
    assert min(second.values()) > min(first.values())
    assert list(first) == [each.name for each in subjects]
    assert moved.dtype == before.dtype


def test_nothing_runs_after_the_last_layer_that_is_read() -> None:
    ran: list[int] = []
    Excitation([Subjects((CAT,), TEXT)], 10, LEVELS).altered(1, latents(), model(ran))
    assert ran == [0, 1]
    ran.clear()
    Excitation([Subjects((FROG,), TEXT)], 10, LEVELS).altered(1, latents(), model(ran))
    assert ran == [0, 1, 2]


def test_the_latent_moves_where_the_mask_is_alone() -> None:
    mask = torch.ones(HEIGHT, BREADTH)
    mask[:, BREADTH // 2 :] = 0
    before = latents(2)
    excitation = Excitation([Subjects((CAT,), TEXT)] * 2, 10, LEVELS, masks=[mask, None])
    moved = excitation.altered(1, before, model()) - before
    assert moved[0, :, :, BREADTH // 2 :].abs().max() == 0
    assert moved[0, :, :, : BREADTH // 2].abs().max() > 0
    assert moved[1, :, :, BREADTH // 2 :].abs().max() > 0


@pytest.mark.parametrize("rows", [slice(6, 10), slice(7, 8)])
def test_a_mask_between_the_points_of_a_coarse_map_is_not_missed(rows: slice) -> None:
    mask = torch.zeros(HEIGHT, BREADTH)
    mask[rows, 3:5] = 1
    before = latents()
    excitation = Excitation([Subjects((CAT,), TEXT)], 10, LEVELS, masks=[mask])
    moved = (excitation.altered(1, before, model()) - before)[0].abs().amax(0)
    assert excitation.records[0].scores["cat"] > 0.1
    assert moved[mask == 0].max() == 0 < moved[mask == 1].max()


@pytest.mark.parametrize("masked", [False, True])
def test_pictures_of_a_batch_are_moved_as_they_are_alone(masked: bool) -> None:
    """One with a concept, one without, one with both: each is read off its own layers, within its own mask."""
    pictures = [Subjects(each, TEXT) for each in ((FROG,), (CAT, DOG), (DOG, FROG))]
    mask = torch.zeros(HEIGHT, BREADTH)
    mask[3:9, 2:7] = 1
    before = latents(3)
    together = Excitation(pictures, 10, LEVELS, masks=[mask, None, mask] if masked else None)
    moved = together.altered(2, before, model())
    for number, subjects in enumerate(pictures):
        masks = [mask] if masked and number != 1 else None
        alone = Excitation([subjects], 10, LEVELS, masks=masks)
        expected = alone.altered(2, before[number : number + 1], model())
        torch.testing.assert_close(moved[number : number + 1], expected, rtol=1e-10, atol=1e-10)
        assert together.records[number].scores == pytest.approx(alone.records[0].scores)


def test_a_picture_without_subjects_is_left_alone_and_has_no_record() -> None:
    before = latents(2)
    excitation = Excitation([Subjects(), Subjects((CAT,), TEXT)], 10, LEVELS)
    moved = excitation.altered(1, before, model())
    assert torch.equal(moved[0], before[0])
    assert not torch.equal(moved[1], before[1])
    assert [each.picture for each in excitation.records] == [1]


def test_maps_are_kept_where_they_are_asked_for() -> None:
    subjects = [Subjects((CAT, FROG), TEXT)]
    plain, keeping = Excitation(subjects, 10, LEVELS), Excitation(subjects, 10, LEVELS, maps=True)
    for excitation, kept in (plain, {}), (keeping, {"cat": (4, 2), "frog": (8, 8)}):
        excitation.altered(1, latents(), model())
        assert {name: tuple(each.shape) for name, each in excitation.records[0].maps.items()} == kept


def test_each_threshold_is_asked_for_once() -> None:
    excitation = Excitation([Subjects((CAT,), TEXT)], 10, LEVELS)
    for number in range(4):
        excitation.altered(number, latents(), model())
    expected = [pytest.approx(0.05), None, pytest.approx(0.5), None]
    assert [each.target for each in excitation.records] == expected
    # A pass that begins anew asks anew.
    for number in (5, 2):
        excitation.altered(number, latents(), model())
    assert excitation.records[-1].target == pytest.approx(0.5)


def test_the_step_falls_from_the_scale_to_the_root_of_its_half() -> None:
    before = latents()

    def step(scale: float, number: int, until: float = 1.0) -> Tensor:
        subject = Subject("cat", (1,), scale=scale, until=until, refine=False)
        return before - Excitation([Subjects((subject,), TEXT)], 10, LEVELS).altered(number, before, model())

    assert not step(1.0, 5, until=0.5).any()
    torch.testing.assert_close(3 * step(1.0, 9), step(3.0, 9))
    torch.testing.assert_close(step(1.0, 0), step(1.0, 9) / 0.5**0.5)
    torch.testing.assert_close(step(1.0, 1), step(1.0, 0) * (1 - 0.5 / 9) ** 0.5)


def seen(watcher: Watcher, sizes: Sequence[tuple[int, int]]) -> list[int]:
    """The layers after which the watcher had enough."""
    ended = []
    for layer, size in enumerate(sizes):
        query = noise(1, HEADS, size[0] * size[1], 2, seed=layer)
        try:
            if watcher.wants(size):
                watcher.see(0, layer, str(layer), query, noise(1, HEADS, TOKENS, 2), 1.0, size, [0])
        except EnoughRead:
            ended.append(layer)
    return ended


def test_a_watcher_ends_the_evaluation_once_and_counts_nothing_twice() -> None:
    sizes = [(8, 4), (4, 2), (4, 2), (8, 4)]
    watcher = Watcher((4, 2), 2)
    assert seen(watcher, sizes) == [2]
    mean = watcher.mean
    torch.testing.assert_close(mean.sum(-1), torch.ones(1, 8, dtype=torch.float64))
    watcher.close()
    assert seen(watcher, sizes) == []
    assert torch.equal(watcher.mean, mean)


def test_a_watcher_of_concepts_alone_reads_nothing_else() -> None:
    sizes = [(8, 4), (4, 2), (4, 2)]
    alone, beside = WeightedWatcher((4, 2), 1, [[FROG]], 2), WeightedWatcher((4, 2), 1, [[FROG, CAT]], 2)
    assert seen(alone, sizes) == [2]
    assert seen(beside, sizes) == [2]
    assert torch.equal(alone.weighted(0), beside.weighted(0))
    assert beside.mean.shape == (1, 8, TOKENS)
    with pytest.raises(LookupError):
        _ = alone.mean
    kept = beside.weighted(0)
    beside.close()
    assert seen(beside, sizes) == []
    assert torch.equal(beside.weighted(0), kept)
