"""What a step of excitation is made of: its phases, what is told of it, types, masks, sizes and limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.excitation import USUAL, Excitation, Reading, _resized
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.attention.subjects import Asked, Subject, Subjects
from lib_ebca.attention.watcher import EnoughRead, Watcher
from lib_ebca.attention.weighted_watcher import WeightedWatcher
from lib_ebca.methods.attend_and_excite import Ask, Objective
from lib_ebca.methods.maps import text_shares
from tests.tiny_attention import noise

LEVELS = (1, 2, 2)
TOKENS, WIDTH, HEADS = 6, 4, 2
TEXT = (False, True, True, True, False, False)
CAT, DOG = Subject("cat", (1,), refine=False), Subject("dog", (2, 3), scale=5.0)
HIGH, LOW = Subject("high", (2,), refine=False), Subject("low", (1,), scale=5.0)
FROG = Subject("frog", (3,), heads=tuple(torch.tensor(each) for each in ([0.5, 0.0], [0.25, 0.0], [0.0, 0.25])))

Ran = list[tuple[int, list[int]]]


def model(ran: Ran | None = None, dtype: torch.dtype | None = None) -> Callable[[Tensor, list[int], Cascade], None]:
    """Runs layers of LEVELS, whose queries are the averaged latents; `ran` takes the layers and their rows."""

    def evaluate(latents: Tensor, rows: list[int], cascade: Cascade) -> None:
        for layer, level in enumerate(LEVELS):
            if ran is not None:
                ran.append((layer, list(rows)))
            size = (-(-latents.shape[-2] // 2**level), -(-latents.shape[-1] // 2**level))
            query = F.adaptive_avg_pool2d(latents, size).flatten(2).transpose(1, 2).unflatten(-1, (HEADS, -1))
            key = noise(1, HEADS, TOKENS, WIDTH // HEADS, seed=layer).expand(len(rows), -1, -1, -1)
            query, key = (part.to(dtype or latents.dtype) for part in (query.transpose(1, 2), key))
            if cascade.recorder is not None and cascade.recorder.wants(size):
                cascade.recorder.see(0, layer, str(layer), query, key, 1.0, size, range(len(rows)))

    return evaluate


def latents(pictures: int = 1, size: tuple[int, int] = (16, 8)) -> Tensor:
    return noise(pictures, WIDTH, *size, seed=5)


def excitation(*pictures: Sequence[Subject], **options: object) -> Excitation:
    return Excitation([Subjects(tuple(each), TEXT) for each in pictures], 10, LEVELS, **options)  # type: ignore[arg-type]  # options of several types


def test_who_is_refined_without_the_others_goes_first_and_alone() -> None:
    """Beside a picture whose refined and moved subjects are the same, in one batch."""
    ran: Ran = []
    before = latents(3)
    both = excitation((HIGH, LOW), (LOW,), ())
    found = both.altered(2, before, model(ran))
    refined = excitation((LOW,)).altered_as([Asked((LOW,), (LOW,), Ask(0.5, False))], 2, before[:1], model())
    expected = excitation((HIGH, LOW)).altered_as([Asked((HIGH, LOW), (), Ask(None, True))], 2, refined, model())
    torch.testing.assert_close(found[:1], expected, rtol=1e-12, atol=1e-12)
    alone = excitation((LOW,))
    torch.testing.assert_close(found[1:2], alone.altered(2, before[1:2], model()), rtol=1e-12, atol=1e-12)
    assert torch.equal(found[2], before[2])
    rows = [rows for layer, rows in ran if layer == 0]
    # The first picture's refinement, then the step of both, then what the second is still refined for.
    first, second = both.records
    assert rows[: first.refinements] == [[0]] * first.refinements
    assert [0, 1] in rows
    assert (first.picture, second.picture) == (0, 1)
    assert first.refinements > 1 and first.updates == first.refinements + 1 == len(first.losses)
    assert first.target == second.target == pytest.approx(0.5)
    assert (second.updates, second.refinements, second.evaluations, second.losses) == (
        alone.records[0].updates,
        alone.records[0].refinements,
        alone.records[0].evaluations,
        pytest.approx(alone.records[0].losses),
    )
    assert list(first.scores) == ["low"] and sorted(first.after) == ["high", "low"]


def test_without_thresholds_no_phase_is_added() -> None:
    ran: Ran = []
    one = excitation((CAT, DOG))
    one.altered(0, latents(), model())
    one.altered(1, latents(), model(ran))
    assert [rows for layer, rows in ran if layer == 0] == [[0]]
    record = one.records[-1]
    assert (record.step, record.updates, record.refinements, record.evaluations) == (1, 1, 0, 1)
    assert record.target is None
    assert record.losses == pytest.approx([max(0.0, 1 - min(record.scores.values()))])
    assert record.maps == {}


def test_what_was_looked_at_only_is_told_by_its_loss() -> None:
    before, one = latents(), excitation((DOG,))
    found = one.altered_as([Asked((DOG,), (DOG,), Ask(2.0, False))], 4, before, model())
    (record,) = one.records
    assert torch.equal(found, before)
    assert (record.step, record.updates, record.refinements, record.evaluations, record.target) == (4, 0, 0, 1, -1.0)
    assert record.losses == pytest.approx([1 - record.scores["dog"]])


def test_a_gradient_that_is_not_finite_is_told_and_moves_nothing() -> None:
    told: list[str] = []
    before = latents()
    before[0, 0, 0, 0] = torch.nan
    one = excitation((DOG,), tell=told.append)
    found = one.altered(1, before, model())
    assert torch.equal(found.nan_to_num(), before.nan_to_num())
    assert told == ["Subjects: step 2 was left as it was, for its gradient was not finite."]
    told.clear()
    one.altered(1, latents(), model())
    assert told == []


def test_a_stop_ends_it_before_anything_runs() -> None:
    ran: Ran = []
    one = excitation((DOG,), stopped=lambda: True)
    assert torch.equal(one.altered(0, latents(), model(ran)), latents())
    assert ran == [] and one.records == []


@pytest.mark.parametrize("most", [1, 3])
def test_refinements_end_at_the_limit_of_the_reading(most: int) -> None:
    one = excitation((DOG,), reading=Reading(most=most))
    one.altered_as([Asked((DOG,), (DOG,), Ask(0.0, True))], 0, latents(), model())
    assert (one.records[0].refinements, one.records[0].updates) == (most, most + 1)
    assert (USUAL.objective, USUAL.level, USUAL.most, USUAL.checkpointing) == (Objective(), None, 20, False)


def test_the_layers_of_the_level_that_is_asked_for_are_read() -> None:
    ran: Ran = []
    excitation((DOG,), reading=Reading(level=1)).altered(1, latents(), model(ran))
    assert [layer for layer, _ in ran] == [0]
    assert (excitation((DOG,)).level, excitation((DOG,), reading=Reading(level=1)).level) == (2, 1)


def test_steps_fall_over_all_evaluations_of_a_pass() -> None:
    def step(number: int, **options: object) -> Tensor:
        return latents() - excitation((CAT,), **options).altered_as(
            [Asked((CAT,), (), Ask(None, True))], number, latents(), model()
        )

    torch.testing.assert_close(step(10, evaluations=21), step(0) * 0.75**0.5)
    torch.testing.assert_close(step(9), step(0) * 0.5**0.5)


@pytest.mark.parametrize("subject", [CAT, FROG])
def test_a_model_in_half_precision_moves_by_as_much(subject: Subject) -> None:
    """Also where its gradient would vanish: that of a subject whose step is a millionth."""
    small = Subject(subject.name, subject.tokens, 2e-6, heads=subject.heads)
    asked = [Asked((small,), (), Ask(None, True))]
    before = latents().float()
    whole = excitation((small,)).altered_as(asked, 0, before.double(), model(dtype=torch.float64)) - before
    half = excitation((small,)).altered_as(asked, 0, before.double(), model(dtype=torch.float16)) - before
    error = (half - whole).abs().max() / whole.abs().max()
    assert float(error) < 0.05


def test_latents_come_back_in_their_own_type() -> None:
    for dtype in (torch.float16, torch.float32, torch.float64):
        seen: list[torch.dtype] = []

        def evaluate(given: Tensor, rows: list[int], cascade: Cascade, seen: list[torch.dtype] = seen) -> None:
            seen.append(given.dtype)
            model()(given, rows, cascade)

        before = latents().to(dtype)
        found = excitation((DOG,)).altered(1, before, evaluate)
        assert found.dtype == dtype and not torch.equal(found, before)
        assert seen == [torch.float64 if dtype == torch.float64 else torch.float32]


def test_a_text_is_as_long_as_the_host_made_it() -> None:
    """What it was filled up with takes no part."""
    short = Excitation([Subjects((DOG,), TEXT[:4])], 10, LEVELS)
    torch.testing.assert_close(short.altered(1, latents(), model()), excitation((DOG,)).altered(1, latents(), model()))


def test_latents_of_odd_sides_are_read_where_they_are_halved_rounding_up() -> None:
    one = excitation((CAT, FROG), maps=True)
    before = latents(size=(15, 9))
    found = one.altered(1, before, model())
    assert not torch.equal(found, before)
    assert tuple(one.records[0].maps["cat"].shape) == (4, 3)


def test_maps_are_the_mean_attention_to_a_subjects_tokens() -> None:
    one = excitation((DOG,), maps=True)
    watcher = one.watched(latents(), [0], model(), 1)
    one.altered(1, latents(), model())
    (record,) = one.records
    expected = watcher.mean[0, :, [2, 3]].sum(-1).unflatten(0, (4, 2)).float()
    torch.testing.assert_close(record.maps["dog"], expected)
    score = text_shares(watcher.mean[0], torch.tensor(TEXT))
    assert 0 < record.scores["dog"] <= float(score[:, [2, 3]].max())


def test_subjects_that_change_are_read_from_then_on() -> None:
    one = excitation((DOG,))
    assert one.wants(1) and not one.wants(5)
    one.read([Subjects()])
    assert not one.wants(1)
    one.read([Subjects((Subject("cat", (1,), until=1.0),), TEXT)])
    assert one.wants(9)
    one.altered(9, latents(), model())
    assert list(one.records[0].scores) == ["cat"]


def test_the_layers_follow_the_cascade_that_is_given() -> None:
    made: list[Cascade] = []

    def cascade(watcher: Watcher) -> Cascade:
        made.append(Cascade([Picture()] * 2, [Timetable((Values(),))] * 2, recorder=watcher))
        return made[-1]

    began: list[tuple[object, ...]] = []

    def evaluate(given: Tensor, rows: list[int], used: Cascade) -> None:
        began.append((used, used.number, used._rows, used._size))
        model()(given, rows, used)

    one = excitation((), (DOG,), cascade=cascade)
    one.altered(3, latents(2), evaluate)
    assert began == [(made[0], 3, Rows((1,), (True,)), (16, 8))]


def test_a_mask_at_another_size() -> None:
    mask = torch.tensor([[0.0, 1.0], [0.0, 0.5]])
    torch.testing.assert_close(_resized(mask, (2, 3)), torch.tensor([[0.0, 0.5, 1.0], [0.0, 0.25, 0.5]]))
    assert torch.equal(_resized(mask, (2, 2)), mask)
    # The cell that is covered most counts as the mask does.
    small = torch.zeros(4, 4)
    small[0, 0], small[2:, 2:] = 0.8, 0.4
    torch.testing.assert_close(_resized(small, (2, 2)), torch.tensor([[0.4, 0.0], [0.0, 0.8]]))
    assert not _resized(torch.zeros(4, 4), (2, 2)).any()
    torch.testing.assert_close(_resized(mask, (1, 3)), torch.tensor([[0.0, 0.5, 1.0]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_watcher_is_the_mean_over_heads_and_layers_of_its_rows(dtype: torch.dtype) -> None:
    watcher = Watcher((2, 2), 7)
    assert not watcher.half
    query, key = (noise(3, HEADS, length, 2, seed=length).to(dtype) for length in (4, TOKENS))
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    expected = (0.6 * query.to(wide) @ key.to(wide).mT).softmax(-1)[[2, 0]]
    for layer in (0, 1):
        watcher.see(0, layer, "", query, key, 0.6, (2, 2), [2, 0])
    assert watcher.half is (dtype == torch.float16)
    assert watcher.mean.dtype == wide
    torch.testing.assert_close(watcher.mean, expected.mean(1))
    with pytest.raises(EnoughRead):
        watcher.see(0, 7, "", query, key, 0.6, (2, 2), [2, 0])
    assert watcher.wants((2, 2)) and not watcher.wants((4, 4)) and not watcher.wants(None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_weighted_watcher_reads_each_row_for_its_own_subjects(dtype: torch.dtype) -> None:
    """Rows of a batch: one with a concept, one without, one with both; sizes that no halving gives are left out."""
    plain, wide = Subject("cat", (1,)), torch.float64 if dtype == torch.float64 else torch.float32
    watcher = WeightedWatcher((8, 8), 0, [[FROG], [plain], [plain, FROG]], 1)
    query, key = noise(4, HEADS, 64, 2, seed=1).to(dtype), noise(4, HEADS, TOKENS, 2, seed=2).to(dtype)
    rows = [3, 0, 1]
    watcher.see(0, 0, "", query, key, 0.6, (8, 8), rows)
    with pytest.raises(EnoughRead):
        watcher.see(0, 1, "", query, key, 0.6, (8, 8), rows)
    probabilities = (0.6 * query.to(wide) @ key.to(wide).mT).softmax(-1)
    for place, row in ((0, 3), (2, 1)):
        expected = (0.5 + 0.25) * probabilities[row, 0].unflatten(0, (8, 8))[None]
        torch.testing.assert_close(watcher.weighted(place), expected)
        assert watcher.weighted(place).dtype == wide
    torch.testing.assert_close(watcher.mean, probabilities[rows].mean(1))
    assert watcher.half is (dtype == torch.float16)
    assert watcher.wants((3, 3)) and not watcher.wants(None)
