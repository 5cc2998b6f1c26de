"""The editing benchmark: its scenes, its verdicts on pictures that are known, and a run on a tiny model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from benchmarks.alignment.results import Line, ResultsError
from benchmarks.editing import bench, inversions, tables
from benchmarks.editing.ground import EditingError
from benchmarks.editing.methods import OBJECT, SCENE, Method, PlanSettings, SwapSettings, plan_of
from benchmarks.editing.settings import CANDIDATES, IMG2IMG, METHODS, SWAP, SWAP_PLAIN
from benchmarks.editing.shapes_edits import KINDS, SceneEdit, ShapesGround, outcome, pictures, scene_edits
from benchmarks.editing.sheet import CELL, draw_sheet, shown
from cli.main import app
from lib_ebca.hosts.inversion import edit_scheduler
from lib_ebca.language.directives import write
from tests import tiny_pipe
from world.shapes.render import render
from world.shapes.scenes import Scene, SceneBatch, SceneObject
from world.shapes.sightings import read

COUNT = 24


def done(edit: SceneEdit) -> Scene:
    """The scene as it should be afterwards."""
    others = edit.scene.objects[1:]
    return dataclasses.replace(edit.scene, objects=(edit.wanted, *others) if edit.wanted else others)


def after(edits: list[SceneEdit]) -> torch.Tensor:
    """A perfect edit of each; where nothing is left to draw, the object is painted over with its background."""
    drawn = []
    for edit, before in zip(edits, pictures(edits), strict=True):
        if edit.wanted is None and len(edit.scene.objects) == 1:
            far = dataclasses.replace(edit.target, x=-100.0, y=-100.0)
            drawn.append(render(SceneBatch.from_scenes([dataclasses.replace(edit.scene, objects=(far,))]))[0])
        else:
            drawn.append(render(SceneBatch.from_scenes([done(edit)]))[0])
        assert before.shape == drawn[-1].shape
    return torch.stack(drawn)


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_edit_succeeds_and_none_fails(kind: str) -> None:
    edits = scene_edits(kind, COUNT, seed=1)
    before, changed = pictures(edits), after(edits)
    good = [outcome(*each) for each in zip(edits, before, changed, read(changed), strict=True)]
    bad = [outcome(*each) for each in zip(edits, before, before, read(before), strict=True)]
    # The judge itself misses a few.
    assert sum(each.success for each in good) >= 0.85 * COUNT
    assert sum(each.success for each in bad) <= 0.1 * COUNT
    assert min(each.kept for each in good) > 35 and min(each.kept for each in bad) == pytest.approx(100)


def test_what_is_kept_is_measured_outside_the_object() -> None:
    edit = scene_edits("colour", 1, seed=2)[0]
    before = pictures([edit])[0]
    target = edit.target
    spoilt = before.clone()
    spoilt[:, round(target.y), round(target.x)] = 0
    assert outcome(edit, before, spoilt, read(spoilt[None])[0]).kept == pytest.approx(100)
    assert outcome(edit, before, (before + 0.1).clamp(0, 1), read(before[None])[0]).kept < 25


def test_scenes_are_seeded_and_edits_change_one_thing() -> None:
    assert scene_edits("shape", 8, 3) == scene_edits("shape", 8, 3) != scene_edits("shape", 8, 4)
    for kind, field in (("colour", "colour"), ("shape", "shape"), ("restyle", "style")):
        for edit in scene_edits(kind, COUNT, 5):
            assert edit.wanted is not None
            assert dataclasses.replace(edit.wanted, **{field: getattr(edit.target, field)}) == edit.target
            assert getattr(edit.wanted, field) not in {getattr(each, field) for each in edit.scene.objects}
            assert edit.caption != edit.swapped
    with pytest.raises(EditingError, match="should be one of colour, shape"):
        scene_edits("size", 1, 0)


def test_words() -> None:
    disc = SceneObject("circle", "red", "striped")
    edit = SceneEdit("remove", Scene((disc, SceneObject("star", "blue")), "light", "gradient"), None)
    assert edit.caption == "a striped red circle and a blue star on a light gradient background"
    assert edit.swapped == "a blue star on a light gradient background"
    assert (edit.added, edit.removed) == (edit.swapped, "a striped red circle")
    alone = SceneEdit("remove", Scene((disc,), "white"), None)
    assert alone.swapped == "a white background"
    plan = plan_of(edit, PlanSettings(words=OBJECT, add=1.0, take=0.5, start=0.3))
    assert write(plan) == f"<edit:{edit.swapped}:1:from=0.3> <edit:a striped red circle:-0.5:from=0.3>"
    plan = plan_of(edit, PlanSettings(words=SCENE, add=1.0, take=1.0))
    assert write(plan) == f"<edit:{edit.swapped}:1> <edit:{edit.caption}:-1>"


@pytest.fixture(scope="module")
def pipe() -> Any:
    made = tiny_pipe.sd1()
    made.scheduler = edit_scheduler(made)
    return made


SMALL = bench.Question(scenes=3, steps=4, batch=2)


def test_a_run_fills_the_table_and_goes_on(pipe: Any, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    rows = bench.bench(pipe, SMALL, tmp_path / "out", {"model": "tiny"}, lambda *done: told.append(done))
    total = 2 * len(KINDS) * len(METHODS)
    assert told[0] == (0, total) and told[-1] == (total, total)
    assert [(row.method, row.kind) for row in rows] == [
        (method.name, kind) for method in METHODS for kind in (*KINDS, "all")
    ]
    spent = {row.method: row.evaluations for row in rows}
    # Two rows in each of four guided steps, after an inversion of three or more.
    assert spent[SWAP_PLAIN] == 3 + 8 and spent[SWAP] > 5 + 8 and spent[IMG2IMG] == 2 * 3
    assert {row.kind: row.success.n for row in rows} == dict.fromkeys(KINDS, 3) | {"all": 12}
    assert rows[0].against is None and rows[-1].against is not None and rows[-1].against.difference.n == 12

    results = tmp_path / "out" / "results.jsonl"
    kept = results.read_text().splitlines(keepends=True)[:-3]
    results.write_text("".join(kept))
    told.clear()
    assert bench.bench(pipe, SMALL, tmp_path / "out", {"model": "tiny"}, lambda *done: told.append(done)) == rows
    assert told == [(total - 3 + number, total) for number in range(4)]
    told.clear()
    more = dataclasses.replace(SMALL, scenes=4)
    assert bench.bench(pipe, more, tmp_path / "out", {"model": "tiny"}, lambda *done: told.append(done))[0].kept.n == 4
    # The first two scenes are the same; the batch of one is made again as a batch of two.
    assert told[0] == (total // 2, total)
    with pytest.raises(ResultsError, match="its steps differs"):
        bench.bench(pipe, dataclasses.replace(SMALL, steps=5), tmp_path / "out", {"model": "tiny"})


def rows_of(*hits: tuple[str, list[float], float]) -> list[bench.Row]:
    """Rows of methods that all edit alike: name, success of each scene, dB kept."""
    question = dataclasses.replace(SMALL, methods=tuple(Method(name, SwapSettings()) for name, _, _ in hits))
    lines = [
        Line(
            *question.key(number, kind, Method(name, SwapSettings())),
            {"success": part, "kept": [kept] * len(part)},
            9,
            1,
        )
        for name, success, kept in hits
        for kind in KINDS
        for number, part in enumerate((success[:2], success[2:]))
    ]
    return bench.answer(question, lines)


def test_tables_say_what_was_found(tmp_path: Path) -> None:
    rows = rows_of(("good", [1, 1, 1], 30.0), ("bad", [0, 0, 0], 19.0))
    bad = tables.main_table(rows, SMALL).rows[1]
    assert bad[1].startswith("0 [0, 56], 19.0 dB") and bad[-2:] == ("0 [0, 24]", "9")
    against = tables.comparisons(rows).rows[0]
    assert against[5].startswith("+100.0 [") and against[6] == "12 : 0"
    assert "succeeds more often than bad (+100.0" in tables.verdict(rows)
    assert "11.0 dB more kept" in tables.verdict(rows)
    even = rows_of(("good", [1, 0, 1], 30.0), ("bad", [0, 1, 1], 31.0))
    assert "not clearly more or less often than bad (+0.0" in tables.verdict(
        even
    ) and "1.0 dB less kept" in tables.verdict(even)
    assert tables.judged(tmp_path) == ""
    rates = {f"{count}: exact": {"rate": rate} for count, rate in (("one", 0.946), ("two", 0.994))}
    (tmp_path / "judge.json").write_text(json.dumps({"after a VAE round trip": rates}))
    about = {"model": "tiny", "model_hash": "123", "dtype": "float32", "device": "cpu"}
    found = tables.blocks(rows, SMALL, tmp_path, about)
    assert (
        "`ebca bench editing --model tiny --scenes 3 --steps 4 --batch-size 2` with the model tiny (123)"
        in found["editing"]
    )
    assert "94.6 % of drawings of one object and 99.4 % of two" in found["editing"]
    assert "guidance 7.5, negative False" in found["editing-details"]


def test_the_best_candidate_keeps_the_rest(pipe: Any) -> None:
    rows = rows_of(("same", [1, 1, 1], 19.0))
    weaker = [dataclasses.replace(row, settings="weaker") for row in rows_of(("same", [1, 1, 0], 25.0))]
    assert [row.settings for row in bench.best([*rows, *weaker])] == ["weaker"]
    assert [row[1][-2:] for row in tables.tuning_table([*rows, *weaker], SMALL).rows] == ["se", " *"]


def test_settings_are_candidates_and_scenes_are_disjoint() -> None:
    assert set(METHODS) <= set(CANDIDATES)
    assert len({bench.key_of(method) for method in CANDIDATES}) == len(CANDIDATES)
    reported = {edit.caption for edit in scene_edits("colour", 64, bench.SCENES_SEED)}
    scenes = {edit.scene for edit in scene_edits("colour", 64, bench.SCENES_SEED)}
    assert reported and not scenes & {edit.scene for edit in scene_edits("colour", 64, bench.TUNING_SEED)}


def test_all_kinds_edit_the_same_scenes() -> None:
    first, *others = (scene_edits(kind, SMALL.scenes, SMALL.seed) for kind in KINDS)
    for edits in others:
        assert [edit.scene for edit in edits] == [edit.scene for edit in first]
    assert scene_edits("shape", 11, 3)[:9] == scene_edits("shape", 9, 3)


def test_the_sheet_shows_each_kind(pipe: Any, tmp_path: Path) -> None:
    question = dataclasses.replace(SMALL, methods=METHODS[-1:])
    draw_sheet(pipe, question, tmp_path / "docs" / "sheet.png")
    with Image.open(tmp_path / "docs" / "sheet.png") as image:
        assert image.width > 3 * CELL and image.height > 2 * CELL
    assert [edit.kind for edit in shown(bench.Question())] == [kind for kind in KINDS for _ in range(2)]


def test_inversions_are_compared(pipe: Any, tmp_path: Path) -> None:
    ways = [
        way
        for way in inversions.WAYS
        if "1 a step" in way.name or "4 a step, memory" in way.name or "plain" in way.name
    ]
    sets = {"drawn": inversions.drawn(ShapesGround(), 3, 1)}
    rows = inversions.compare(pipe, sets, tmp_path, {}, steps=4, batch=2, ways=ways)
    assert [row.evaluations for row in rows] == [3, 5, 17]
    assert rows[2].own.value > rows[0].own.value and rows[0].vae == rows[2].vae
    assert inversions.compare(pipe, sets, tmp_path, {}, steps=4, batch=2, ways=ways) == rows
    assert inversions.table(rows, 4).rows[2][:3] == ("drawn", ways[2].name, "17")


def test_photographs_that_ship_with_packages() -> None:
    pytest.importorskip("skimage", reason="the photographs come with scikit-image, which the tests' environment has")
    found = list(inversions.photographs(40, 24))
    assert found and all(sample.picture.shape == (3, 24, 40) for sample in found)
    assert all(float(sample.picture.min()) >= 0 and float(sample.picture.max()) <= 1 for sample in found)


def test_questions_that_cannot_be() -> None:
    with pytest.raises(EditingError, match="steps is 1: it should be at least 2"):
        bench.Question(steps=1)


def test_no_scenes_are_not_as_many_as_usual() -> None:
    result = CliRunner().invoke(app, ["bench", "editing", "--scenes", "0"])
    assert result.exit_code == 2 and "scenes is 0: it should be at least 1" in result.output


@pytest.mark.parametrize(("command", "block"), [("editing", "editing-book"), ("inversions", "inversions")])
def test_a_page_without_a_place_is_told_before_anything_is_drawn(command: str, block: str, tmp_path: Path) -> None:
    page, out = tmp_path / "page.md", tmp_path / "out"
    page.write_text("# Mine\n")
    result = CliRunner().invoke(app, ["bench", command, "--page", str(page), "--out", str(out)])
    assert result.exit_code == 2 and f"<!-- {block}: begin -->" in " ".join(result.output.split())
    assert not out.exists()
