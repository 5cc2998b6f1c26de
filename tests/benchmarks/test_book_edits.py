"""Edits of the book's scenes: their words, and the verdicts of primer's eye on pictures that are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.editing import bench, tables
from benchmarks.editing.book_edits import KINDS, PUT_ON, BookEdit, BookGround, outcome
from benchmarks.editing.ground import EditingError, Outcome
from benchmarks.editing.grounds import ground_of
from benchmarks.editing.methods import OBJECT, PlanSettings, plan_of
from benchmarks.editing.settings import BOOK_METHODS, methods_of
from benchmarks.editing.shapes_edits import ShapesGround
from benchmarks.scorers.clip import ClipEncoder
from lib_ebca.hosts.inversion import edit_scheduler
from lib_ebca.language.directives import write
from lib_ebca.studio.locate import MODELS
from tests import tiny_pipe
from world.book.judge import Sighting
from world.book.render import render
from world.book.scenes import Scene, Thing

COUNT = 16


@pytest.fixture(scope="module")
def ground() -> BookGround:
    found = ground_of(MODELS / "primer")
    assert isinstance(found, BookGround)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_edit_succeeds_and_none_fails(ground: BookGround, kind: str) -> None:
    edits = ground.edits(kind, COUNT, seed=1)
    before, after = ground.pictures(edits), render([edit.done for edit in edits]).pictures
    good, bad = ground.outcomes(edits, before, after), ground.outcomes(edits, before, before)
    # The eye itself misses a few, and of glasses before a face many.
    assert sum(each.success for each in good) >= (0.5 if kind == PUT_ON else 0.85) * COUNT
    assert sum(each.success for each in bad) == 0
    assert all(each.kept == pytest.approx(100) for each in bad)
    if kind != PUT_ON:
        assert min(each.kept for each in good) > 35


def test_edits_are_seeded_and_fewer_are_the_first_of_more(ground: BookGround) -> None:
    for kind in KINDS:
        edits = ground.edits(kind, 8, 3)
        assert edits == ground.edits(kind, 8, 3) and edits[:4] == ground.edits(kind, 4, 3)
        assert edits != ground.edits(kind, 8, 4)
        assert all(edit.noun not in {thing.noun for thing in edit.scene.things} for edit in edits)
    with pytest.raises(EditingError, match="should be one of cat to dog, horse to zebra"):
        ground.edits("dog to cat", 1, 0)


def test_words() -> None:
    cat, car = Thing("cat", None, 30.0, 64.0, 60.0), Thing("car", "red", 96.0, 64.0, 60.0)
    edit = BookEdit("cat to dog", Scene((cat, car), "flat icon", "meadow"), "dog")
    assert edit.caption == "a cat and a red car in a meadow" and edit.swapped == "a dog and a red car in a meadow"
    plan = plan_of(edit, PlanSettings(words=OBJECT, add=1.0, take=0.5, start=0.3))
    assert write(plan) == "<edit:a dog:1:from=0.3> <edit:a cat:-0.5:from=0.3>"
    worn = BookEdit(PUT_ON, Scene((Thing("elephant"),), "flat icon"), "glasses")
    assert worn.swapped == "an elephant with glasses on a white background" and worn.removed is None
    assert write(plan_of(worn, PlanSettings(add=1.0))) == "<edit:an elephant with glasses:1>"
    assert (edit.heading, worn.heading) == ("cat: dog", "elephant: glasses")


def test_verdicts_look_where_the_thing_is(ground: BookGround) -> None:
    cat = Thing("cat", None, 40.0, 64.0, 60.0)
    edit = BookEdit("cat to dog", Scene((cat,), "flat icon"), "dog")
    (before,) = ground.pictures([edit])
    here, there = Sighting("dog", None, 44.0, 60.0), Sighting("dog", None, 110.0, 64.0)
    old = Sighting("cat", None, 40.0, 64.0)

    def success(*seen: Sighting, edit: BookEdit = edit) -> bool:
        return outcome(edit, before, before, seen).success

    assert success(here) and success(here, there)
    assert not success(there) and not success(here, old) and not success()
    worn = BookEdit(PUT_ON, edit.scene, "glasses")
    on, off = Sighting("glasses", None, 40.0, 62.0), Sighting("glasses", None, 110.0, 64.0)
    assert success(on, old, edit=worn)
    assert not success(off, old, edit=worn) and not success(on, edit=worn) and not success(old, edit=worn)
    inside, outside = before.clone(), before.clone()
    inside[:, 64, 40] = 0
    outside[:, 64, 120] = 0
    assert outcome(edit, before, inside, ()).kept == pytest.approx(100)
    assert outcome(edit, before, outside, ()).kept < 60


def test_a_model_edits_the_scenes_of_its_own_world(tmp_path: Path) -> None:
    assert isinstance(ground_of(MODELS / "shapes"), ShapesGround) and isinstance(ground_of(tmp_path), ShapesGround)
    candidates = {(method.settings, method.inversion) for method in methods_of("book", True)}
    assert methods_of("book") == BOOK_METHODS
    assert {(method.settings, method.inversion) for method in BOOK_METHODS} <= candidates
    assert {method.name for method in methods_of("book", True)} == {
        method.name for method in methods_of("shapes", True)
    }
    labels = [f"{method.name}: {method.label}" for method in methods_of("book", True)]
    assert len(set(labels)) == len(labels)  # results are kept by them


class _Small(BookGround):
    """The scenes at a size that the tiny pipeline is quick at, looked at at the eye's."""

    def pictures(self, edits: Sequence[BookEdit]) -> Tensor:
        return interpolate(super().pictures(edits), size=(16, 16), mode="area")

    def outcomes(self, edits: Sequence[BookEdit], before: Tensor, after: Tensor) -> list[Outcome]:
        return super().outcomes(edits, interpolate(before, size=(128, 128)), interpolate(after, size=(128, 128)))


def test_a_run_on_the_books_scenes(ground: BookGround, tmp_path: Path) -> None:
    pipe: Any = tiny_pipe.sd1()
    pipe.scheduler = edit_scheduler(pipe)
    question = bench.Question(
        scenes=2, steps=2, batch=2, methods=BOOK_METHODS[1:3], ground=_Small(ground.eye, ground.contents)
    )
    rows = bench.bench(pipe, question, tmp_path / "out", {"model": "tiny"})
    assert [row.kind for row in rows] == [*KINDS, "all"] * 2
    assert {row.kind: row.success.n for row in rows} == dict.fromkeys(KINDS, 2) | {"all": 6}
    found = tables.blocks(rows, question, tmp_path, {"model": "m", "model_hash": "h", "dtype": "d", "device": "cpu"})
    assert sorted(found) == ["editing-book", "editing-details-book"]
    assert "2 unseen scenes, of each kind of edit, 2 steps" in found["editing-book"]
    assert "`ebca bench editing --model m --scenes 2 --steps 2 --batch-size 2`" in found["editing-book"]


def test_a_clip_reads_the_edits_too(ground: BookGround, clip_folder: Path, tmp_path: Path) -> None:
    pipe: Any = tiny_pipe.sd1()
    pipe.scheduler = edit_scheduler(pipe)
    clip = ClipEncoder(str(clip_folder), templated=False)
    small = _Small(ground.eye, ground.contents, clip)
    edits = small.edits("cat to dog", 4, 1)
    before = small.pictures(edits)
    seen = clip.pictures(interpolate(before, size=(128, 128)))
    texts = [(clip.texts([edit.swapped])[0], clip.texts([edit.caption])[0]) for edit in edits]
    wanted = [bool(row @ new > row @ old) for row, (new, old) in zip(seen, texts, strict=True)]
    assert [each.closer for each in small.outcomes(edits, before, before)] == wanted
    question = bench.Question(scenes=2, steps=2, batch=2, methods=BOOK_METHODS[1:2], ground=small)
    rows = bench.bench(pipe, question, tmp_path / "out", {"model": "tiny"})
    assert [row.closer is not None and row.closer.n for row in rows] == [2, 2, 2, 6]
    table = tables.main_table(rows, question)
    assert len(table.heading) == len(table.rows[0]) and "CLIP accuracy" in table.heading
