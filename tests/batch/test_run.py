"""Runs over files of jobs, started again in folders of every kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.nn.modules.module import register_module_forward_pre_hook

from cli.batch.manifest import NAME, History, Manifest
from cli.batch.outcome import Failed, Made, Note
from cli.batch.painter import Painter, Terms
from cli.batch.store import Store
from lib_ebca.studio import infotext
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.pictures import open_picture
from tests.batch.conftest import Write, asked, carry_out
from tests.cli.conftest import Ebca

CATS = {"prompt": "a cat on a sofa", "seed": 5, "count": 3, "name": "cats"}
DOG = {"prompt": "a dog <edit:cat:0.5>", "negative": "blurry", "name": "dog"}
WRONG = {"prompt": "a dog", "boost": "castle:2", "name": "wrong"}


def history(out: Path) -> History:
    """What the folder's manifest says."""
    return Manifest(Store(str(out))).read()


def pngs(out: Path) -> dict[str, int]:
    """The pictures in the folder and when they were written."""
    return {path.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.rglob("*.png")}


def test_every_picture_once_with_its_parameters(write: Write, tmp_path: Path) -> None:
    file, out = write(CATS, DOG), tmp_path / "out"
    summary = carry_out(file, out, pattern="{job}/{seed}")
    assert (summary.made, summary.failed, summary.left) == (4, 0, 0)
    items = asked(file, pattern="{job}/{seed}").items
    assert set(pngs(out)) == {item.name for item in items}
    made = history(out).made
    for item in items:
        text = infotext.from_picture(open_picture(out / item.name))
        assert text is not None and f"Seed: {item.seed}" in text and text.startswith(item.wanted.prompt)
        assert made[item.key]["path"] == item.name
    assert made[items[3].key]["axes"] == {}
    assert made[items[1].key]["axes"] == {"seed": "6"}
    assert not list(out.rglob("*.part"))


def test_a_second_run_makes_what_is_missing(write: Write, tmp_path: Path) -> None:
    file, out = write(CATS, DOG), tmp_path / "out"
    carry_out(file, out)
    first, second, third, fourth = asked(file).items
    before = pngs(out)
    (out / first.name).unlink()
    (out / second.name).write_bytes((out / second.name).read_bytes()[:-9])
    content = bytearray((out / third.name).read_bytes())
    content[-20] ^= 1
    (out / third.name).write_bytes(content)
    summary = carry_out(file, out)
    assert (summary.made, summary.before) == (3, 1)
    after = pngs(out)
    assert after.keys() == before.keys()
    assert after[fourth.name] == before[fourth.name]
    for item in (first, second, third):
        open_picture(out / item.name)
    again = carry_out(file, out)
    assert (again.made, again.before) == (0, 4)
    assert pngs(out) == after


def test_changed_jobs(write: Write, ebca: Ebca, tmp_path: Path) -> None:
    out = tmp_path / "out"
    carry_out(write(CATS, DOG), out)
    before = pngs(out)
    changed = write({**CATS, "cfg": 5.0}, DOG)
    refused = ebca("batch", changed, "--out", out)
    assert refused.exit_code == 2
    assert "holds the pictures of other jobs (1 of these 4 are among them): add --resume" in refused.stderr
    assert pngs(out) == before
    result = ebca("batch", changed, "--out", out, "--resume")
    assert result.exit_code == 0, result.output
    for said in (
        "1 picture made before, 3 to make",
        "3 pictures of jobs that were changed",
        "3 pictures in the folder that no",
    ):
        assert said in result.stderr
    assert f"{out}: 3 made, 1 there before, 0 failed" in result.stdout
    after = pngs(out)
    assert before.items() <= after.items() and len(after) == 7
    # Once said, it need not be said again, and the order of the jobs means nothing.
    assert carry_out(write(DOG, {**CATS, "cfg": 5.0}), out).made == 0


def test_a_failure_is_recorded_and_the_rest_goes_on(write: Write, ebca: Ebca, tmp_path: Path) -> None:
    file, out = write(CATS, WRONG, DOG), tmp_path / "out"
    result = ebca("batch", file, "--out", out)
    assert result.exit_code == 1
    assert "wrong[1] failed: " in result.stderr and "castle" in result.stderr
    assert len(pngs(out)) == 4
    (line,) = history(out).failed.values()
    assert "castle" in line["error"] and line["trace"] is None and line["place"] == f"{file}:9"
    again = ebca("batch", file, "--out", out, "--json")
    assert (again.exit_code, again.stdout) == (1, "")
    assert "--retry-failed tries them again" in again.stderr
    retried = ebca("batch", file, "--out", out, "--retry-failed", "--json")
    assert retried.exit_code == 1
    assert [json.loads(each)["kind"] for each in retried.stdout.splitlines()] == ["failed"]


def test_fail_fast_stops_at_the_first_failure(write: Write, tmp_path: Path) -> None:
    summary = carry_out(write(WRONG, CATS), tmp_path / "out", fail_fast=True)
    assert (summary.made, summary.failed, summary.left) == (0, 1, 3)


def test_a_model_that_cannot_be_loaded_fails_its_own_pictures_alone(write: Write, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    summary = carry_out(write({**CATS, "model": "broken"}, DOG), tmp_path / "out")
    assert (summary.made, summary.failed) == (1, 3)
    assert "cannot load model" in summary.errors[0]


def test_a_model_that_changed_is_not_mixed_in(write: Write, tmp_path: Path) -> None:
    file, out = write(CATS), tmp_path / "out"
    carry_out(file, out)
    text = (out / NAME).read_text()
    digest = next(iter(history(out).made.values()))["model_hash"]
    (out / NAME).write_text(text.replace(digest, "ffffffffff"))
    next(iter(out.glob("*.png"))).unlink()
    summary = carry_out(file, out)
    assert (summary.made, summary.failed) == (0, 1)
    assert "when its hash was ffffffffff" in summary.errors[0]


def test_into_memory(write: Write) -> None:
    file, url = write(CATS, DOG), "memory://batch"
    try:
        assert carry_out(file, url).made == 4
        store = Store(url)
        assert set(store.sizes()) == {NAME, *(item.name for item in asked(file).items)}
        store.remove(asked(file).items[0].name)
        assert carry_out(file, url).made == 1
    finally:
        fsspec.filesystem("memory").rm("/batch", recursive=True)


@contextmanager
def room_for(rows: int) -> Iterator[list[int]]:
    """A device on which the UNet runs out of memory over more rows than these. Gives the rows of all attempts."""
    seen: list[int] = []

    def before(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, UNet2DConditionModel):
            seen.append(inputs[0].shape[0])
            if seen[-1] > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    hook = register_module_forward_pre_hook(before)
    try:
        yield seen
    finally:
        hook.remove()


def test_short_of_memory_the_batches_are_halved(write: Write, tmp_path: Path) -> None:
    items = asked(write({**CATS, "count": 10})).items
    painter = Painter(str(tmp_path / "out"), Terms(batch_size=8))
    with room_for(4) as rows:
        outcomes = list(painter.make(items))
    assert [type(outcome) for outcome in outcomes].count(Made) == 10
    notes = [outcome.text for outcome in outcomes if isinstance(outcome, Note)]
    assert notes == [
        "The device is short of memory for 8 pictures at once: going on with 4.",
        "The device is short of memory for 4 pictures at once: going on with 2.",
    ]
    # Each size was tried once, and never again.
    assert (rows.count(16), rows.count(8), max(rows[2:])) == (1, 1, 4)


def test_a_picture_too_large_for_the_device_fails_alone(write: Write, tmp_path: Path) -> None:
    items = asked(write({**CATS, "count": 2}, {**CATS, "cfg": 1.0, "count": 1})).items
    with room_for(1):
        outcomes = list(Painter(str(tmp_path / "out"), Terms(batch_size=2)).make(items))
    assert [outcome.error for outcome in outcomes if isinstance(outcome, Failed)] == [
        "the device has not enough memory for this picture alone: make it smaller, or use another dtype"
    ] * 2
    assert sum(isinstance(outcome, Made) for outcome in outcomes) == 1


def test_one_bad_picture_does_not_take_its_pack_along(write: Write, tmp_path: Path) -> None:
    items = asked(write({**CATS, "count": 4})).items
    (tmp_path / "out" / items[1].name).mkdir(parents=True)
    outcomes = list(Painter(str(tmp_path / "out"), Terms(batch_size=4)).make(items))
    assert [outcome.label for outcome in outcomes if isinstance(outcome, Failed)] == ["cats[2]"]


def test_one_load_and_one_encoding_of_each_text(write: Write, tmp_path: Path) -> None:
    prompts = ["a cat", "a dog", "a castle"]
    jobs = [
        {"matrix": {"prompt": prompts, "seed": {"count": 3}, "cfg": [5, 7]}, "negative": "blurry"},
        {"prompt": "a cat", "edit": ["a dog:0.5", "a sofa:0.5"], "steps": 3},
    ]
    painter = Painter(str(tmp_path / "out"), Terms(batch_size=4))
    outcomes = list(painter.make(asked(write(*jobs)).items))
    assert sum(isinstance(outcome, Made) for outcome in outcomes) == 19
    assert painter.loads == 1
    assert painter.encodings == len({*prompts, "blurry", "a sofa", ""})
    # 9 of each guidance in fours, and one picture of three steps.
    assert painter.batches == 3 + 3 + 1


def test_bad_options_are_sentences(write: Write, tmp_path: Path) -> None:
    for bad in ({"engine": "spark"}, {"workers": 2}, {"batch_size": 0}, {"log": "paper"}):
        with pytest.raises(UserError, match="--"):
            carry_out(write(CATS), tmp_path / "out", **bad)
