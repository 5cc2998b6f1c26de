"""The study from end to end on a random model: choice by the rule, resumption, time limit, results on the disk."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from diffusers import StableDiffusionPipeline

from benchmarks.alignment import sweep
from benchmarks.alignment.analysis import costs, figures, outcomes
from benchmarks.alignment.drawing import Drawing, Sampling
from benchmarks.alignment.methods import bcu, plain
from benchmarks.alignment.prompts import COLOURED, ONE, THREE, items, shapes_prompts
from benchmarks.alignment.results import Line, ResultsError, Store, read_lines
from benchmarks.alignment.runner import run, shard_of, tasks
from benchmarks.alignment.scoring import Judge, Metric
from benchmarks.alignment.sheet import draw_sheet, largest
from benchmarks.alignment.study import SCOPES, Counts, Limits, Scope, Size, parts, study
from lib_ebca.studio import Studio
from lib_ebca.studio.loading import Model
from lib_ebca.studio.recipe import Source

ITEMS = items(COLOURED, shapes_prompts(COLOURED), 3) + items(ONE, shapes_prompts(ONE), 2)
BINDING = Judge.metrics[:1]


@pytest.fixture(scope="module")
def drawing(tiny_shapes: StableDiffusionPipeline) -> Drawing:
    model = Model(tiny_shapes, Source("shapes", "0"), tiny_shapes.scheduler.config)
    return Drawing(Studio(model), Sampling(steps=1, guidance=5.0, batch=3))


def line(method: str, batch: int = 0, seconds: float = 1.0, **scores: list[float]) -> Line:
    return Line(method, "all", batch, scores or {"binding": [1.0, 0.0, 1.0]}, 1, seconds)


def test_methods_of_the_sweep_have_names_of_their_own() -> None:
    methods = sweep.sweep()
    assert len({m.name for m in methods}) == len(methods) >= 100
    assert {m.name for m in sweep.fixed()} <= {m.name for m in methods}
    assert methods[0] == plain() and methods[1].name == "0.01/0.02"
    assert {m.family for m in sweep.brief()} == {m.family for m in methods} - {"clipped"}
    assert {m.name for m in sweep.fixed()} <= {m.name for m in sweep.brief()} <= {m.name for m in methods}


def test_the_rule_takes_the_best_that_does_not_cost_single_objects() -> None:
    methods = [bcu(0.01), bcu(0.02), bcu(0.005), bcu(0.04), bcu(-0.01, family="negative")]
    names = [m.name for m in methods]
    gain = dict(zip(names, (0.02, 0.05, 0.02, 0.3, 0.9), strict=True))
    price = dict(zip(names, (0.0, -0.01, 0.0, -0.021, 0.0), strict=True))
    assert [m.name for m in sweep.chosen(methods, gain, price)] == ["0.02/0"]
    gain["0.02/0"] = 0.02
    assert [m.name for m in sweep.chosen(methods, gain, price)] == ["0.005/0"]
    del gain["0.005/0"]
    assert [m.name for m in sweep.chosen(methods, gain, price)] == ["0.01/0"]


def test_halves_of_the_full_study_share_no_prompt_and_no_seed() -> None:
    tuning, reporting = parts(SCOPES["full"].size).values()
    assert not {i.prompt.text for i in tuning} & {i.prompt.text for i in reporting}
    assert not {i.seed for i in tuning} & {i.seed for i in reporting}
    counts = Counter(i.group for i in reporting)
    assert all(count >= 500 for count in counts.values()) and counts[THREE] == 1024


def test_store_resumes_refuses_other_runs_and_mends_cut_lines(tmp_path: Path) -> None:
    store = Store(tmp_path, {"steps": 1, "sizes": (1, 2)})
    store.append(line("plain"))
    store.append(line("a", clip=[0.123456789, 0.5, 1.0]))
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"method": "cut o')
    again = Store(tmp_path, {"steps": 1, "sizes": (1, 2)})
    assert again.done == {("plain", "all", 0), ("a", "all", 0)}
    again.append(line("b"))
    assert [found.method for found in read_lines(tmp_path)] == ["plain", "a", "b"]
    assert read_lines(tmp_path)[1].scores == {"clip": [0.12346, 0.5, 1.0]}
    assert read_lines(tmp_path)[0] == line("plain")
    with pytest.raises(ResultsError, match="its steps differs"):
        Store(tmp_path, {"steps": 2, "sizes": (1, 2)})


def test_shards_make_the_whole_and_share_nothing(tmp_path: Path) -> None:
    todo = tasks([plain(), bcu(0.01)], "all", ITEMS, 2)
    assert [t.key for t in todo] == [(name, "all", batch) for name in ("plain", "0.01/0") for batch in range(3)]
    shards = [shard_of(todo, i, 4) for i in (1, 2, 3, 4)]
    assert sorted(t.key for shard in shards for t in shard) == sorted(t.key for t in todo)
    with pytest.raises(ValueError, match="5/4"):
        shard_of(todo, 5, 4)
    for shard in ("1of2", "2of2"):
        Store(tmp_path, {}, shard).append(line(shard))
    assert [found.method for found in read_lines(tmp_path)] == ["1of2", "2of2"]


def test_run_is_deterministic_resumes_and_stops_in_time(drawing: Drawing, tmp_path: Path) -> None:
    methods = [plain(), bcu(0.3)]
    todo = tasks(methods, "all", ITEMS, drawing.sampling.batch)
    everything = {"all": ITEMS}
    assert not run(drawing, [Judge()], todo, everything, Store(tmp_path / "late", {}), time.monotonic() - 1)
    assert read_lines(tmp_path / "late") == []

    assert run(drawing, [Judge()], todo[:2], everything, Store(tmp_path / "a", {}))
    told: list[str] = []
    assert run(
        drawing, [Judge()], todo, everything, Store(tmp_path / "a", {}), tell=lambda t, _: told.append(t.method.name)
    )
    assert told == ["0.3/0", "0.3/0"]
    assert run(drawing, [Judge()], todo, everything, Store(tmp_path / "b", {}))
    first, second = ([(found.key, found.scores) for found in read_lines(tmp_path / name)] for name in "ab")
    assert first == second
    assert [len(found.scores["exact"]) for found in read_lines(tmp_path / "a")] == [3, 2, 3, 2]


def test_figures_pair_by_item_and_set() -> None:
    lines = [
        line("plain", 0, binding=[0.0, 0.0, 1.0], exact=[0.0, 0.0, 1.0]),
        line("plain", 1, binding=[1.0, 1.0], exact=[1.0, 1.0]),
        line("a", 0, binding=[1.0, 0.0, 1.0], exact=[0.0, 0.0, 0.0]),
    ]
    found = outcomes(lines, "all", ITEMS, 3)
    made = {(f.method, f.group): f for f in figures(found, ITEMS, BINDING, ["plain", "a"])}
    assert made["plain", COLOURED].value.value == pytest.approx(1 / 3)
    assert made["plain", ONE].value.value == 1.0
    against = made["a", COLOURED].against
    assert against is not None and (against.wins, against.losses) == (1, 0)
    assert against.difference.value == pytest.approx(1 / 3)
    assert ("a", ONE) not in made and made["plain", COLOURED].against is None
    with pytest.raises(ValueError, match="2 scores for 3 items"):
        outcomes([line("a", 0, binding=[1.0, 0.0])], "all", ITEMS, 3)


def test_costs_compare_with_plain_on_the_same_batches() -> None:
    lines = [line("plain", 0, 2.0), line("plain", 1, 1.0), line("a", 0, 3.0)]
    cost = costs(lines, {("all", 0): 3, ("all", 1): 2})
    assert cost["plain"].ratio == 1.0 and cost["a"].ratio == pytest.approx(1.5)
    assert cost["plain"].seconds == pytest.approx(3 / 5) and cost["a"].evaluations == 1


def test_largest_wins_and_losses_are_in_order() -> None:
    metrics = (Metric("binding", ""), Metric("crossed", "", better=-1))
    theirs = {n: {"binding": 0.0, "crossed": 1.0} for n in range(4)} | {4: {"binding": 1.0, "crossed": 0.0}}
    ours = {
        0: {"binding": 1.0, "crossed": 1.0},
        1: {"binding": 1.0, "crossed": 0.0},
        2: {"binding": 0.0, "crossed": 0.0},
        3: {"binding": 1.0, "crossed": 0.0},
        4: {"binding": 0.0, "crossed": 0.0},
        9: {"binding": 1.0, "crossed": 0.0},
    }
    assert largest(ours, theirs, metrics, 2) == ([1, 3], [4])
    assert largest(ours, theirs, metrics, 9) == ([1, 3, 0], [4])


def test_sheet_is_written_whole_or_not_at_all(drawing: Drawing, tmp_path: Path) -> None:
    from PIL import Image

    draw_sheet(drawing, bcu(0.3), ITEMS, [], [], tmp_path / "none.png")
    draw_sheet(drawing, bcu(0.3), ITEMS, [0, 4], [1, 2, 3], tmp_path / "sheet.png")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    assert Image.open(tmp_path / "sheet.png").convert("RGB").getextrema() != ((255, 255),) * 3


def test_study_sweeps_chooses_and_reports(drawing: Drawing, tmp_path: Path) -> None:
    few = [plain(), *(m for m in sweep.sweep() if m.family in ("paper's prior", "descent")), *sweep.fixed()[1:]]
    scope = Scope(Size(Counts(0, 0, 0, 1, three=2), Counts(0, 0, 0, 1, three=2)), lambda pixels: few)
    told: list[str] = []
    reported = study(drawing, tmp_path, scope, {"model": "x"}, Limits(), told.append)
    names = [method.name for method in reported]
    assert names[:2] == ["plain", "0.01/0.02"] and set(m.name for m in sweep.fixed()) <= set(names)
    assert sum(m.family == "descent" for m in reported) == 1 and sum(m.family == "paper's prior" for m in reported) == 1
    lines = read_lines(tmp_path)
    assert Counter(found.part for found in lines) == {"tuning": len(few), "reporting": len(reported)}
    assert json.loads((tmp_path / "chosen.json").read_text()) == names
    assert "report complete" in told
    # Going on adds nothing, and the choice stands.
    told.clear()
    assert study(drawing, tmp_path, scope, {"model": "x"}, Limits(), told.append) == reported
    assert told == ["sweep complete", "report complete"]
