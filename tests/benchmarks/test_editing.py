"""The editing benchmark: its scenes, its verdicts on pictures that are known, and a run on a tiny model."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch

from benchmarks.editing import bench, inversions
from benchmarks.editing.edits import KINDS, EditingError, SceneEdit, outcome, pictures, scene_edits
from benchmarks.editing.methods import METHODS, Sampling, plan_of
from benchmarks.judge import read
from lib_ebca.hosts.inversion import edit_scheduler
from tests import tiny_pipe
from training.render import render
from training.scenes import Scene, SceneBatch, SceneObject

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
    assert (edit.added, edit.removed) == ("a light gradient background", "a striped red circle")
    alone = SceneEdit("remove", Scene((disc,), "white"), None)
    assert alone.swapped == "a white background"
    plan = plan_of(edit, Sampling(add=1.0, take=0.5, start=0.3, gamma=0.0))
    assert plan.to_text() == "<edit:a light gradient background:1:from=0.3> <edit:a striped red circle:-0.5:from=0.3>"


@pytest.fixture(scope="module")
def pipe() -> Any:
    made = tiny_pipe.sd1()
    made.scheduler = edit_scheduler(made)
    return made


def test_a_run_fills_the_table(pipe: Any) -> None:
    told: list[tuple[int, int]] = []
    sampling = Sampling(steps=4, batch=2)
    rows = bench.bench(pipe, sampling, count=3, kinds=("colour",), advance=lambda *done: told.append(done))
    assert [row.method for row in rows] == [method.name for method in METHODS]
    assert told[-1] == (2 * len(METHODS), 2 * len(METHODS))
    spent = {row.method: row.evaluations for row in rows}
    assert spent["swapped prompt, plain DDIM inversion"] == spent["EBCA, published inversion"] == 3 + 4
    assert spent["img2img 0.5"] == 2 and spent["EBCA, fixed-point inversion"] > 8
    lines = bench.table(rows)
    assert lines[0] == ["", "colour", "evaluations"] and len(lines) == 1 + len(METHODS)
    data = json.loads(json.dumps(bench.to_dict(rows, sampling, scenes=3)))
    assert data["scenes"] == 3 and data["rows"][0]["success"]["n"] == 3


def test_inversions_are_compared(pipe: Any) -> None:
    ways = [
        way
        for way in inversions.WAYS
        if "1 a step" in way.name or "8 a step, memory" in way.name or "plain" in way.name
    ]
    rows = inversions.compare(pipe, inversions.drawn(2, 1), "drawn", steps=4, ways=ways)
    assert [row.evaluations for row in rows] == [3, 5, 33]
    assert rows[2].latents < rows[0].latents
    assert inversions.table(rows)[0][0] == "pictures"


def test_photographs_that_ship_with_packages() -> None:
    pytest.importorskip("skimage")
    found = list(inversions.photographs(40, 24))
    assert found and all(sample.picture.shape == (3, 24, 40) for sample in found)
    assert all(float(sample.picture.min()) >= 0 and float(sample.picture.max()) <= 1 for sample in found)


def test_sampling_that_cannot_be() -> None:
    with pytest.raises(EditingError, match="should be at least 2 and 1"):
        Sampling(steps=1)
