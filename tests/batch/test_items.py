"""The key of a picture changes with all that makes the picture, and with nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lib_ebca.studio.pictures import png
from tests.batch.conftest import Write, asked

JOB: dict[str, Any] = {"prompt": "a cat", "negative": "blurry", "seed": 1}


def key(file: Path) -> str:
    """Of the only picture."""
    (item,) = asked(file).items
    return item.key


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a dog"},
        {"negative": "sharp"},
        {"seed": 2},
        {"steps": 3},
        {"cfg": 7.0},
        {"sampler": "Euler"},
        {"bcu": True},
        {"edit": "dog:0.5"},
        {"width": 64},
        {"clip_skip": 2},
        {"dtype": "float32"},
        {"drift": True},
    ],
)
def test_another_picture_has_another_key(write: Write, change: dict[str, Any]) -> None:
    assert key(write(JOB)) != key(write({**JOB, **change}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"name": "named"}),
        ({}, {"steps": 2, "cfg": 7.5}),
        ({"bcu": True}, {"bcu": "0.01:0.02"}),
        ({"edit": "dog:0.5"}, {"edit": ["dog:0.5"]}),
        ({"sampler": "pndm"}, {"sampler": "PLMS"}),
    ],
)
def test_the_same_picture_has_the_same_key(write: Write, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(write({**JOB, **one})) == key(write({**JOB, **other}))


def test_a_picture_asked_for_twice_is_made_once(write: Write) -> None:
    found = asked(write(JOB, {**JOB, "name": "again"}, {**JOB, "seed": 0, "count": 3}))
    assert (len(found.items), found.doubles) == (3, 2)
    assert [item.number for item in found.items] == [1, 2, 3]


def test_another_photograph_is_another_job(write: Write, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    job = {"task": "img2img", "photo": "photo.png", "prompt": "a cat", "strength": 1.0}
    photo.write_bytes(png(Image.new("RGB", (8, 8), "red")))
    before = key(write(job))
    photo.write_bytes(png(Image.new("RGB", (8, 8), "blue")))
    assert key(write(job)) != before


def test_seeds_of_a_count_are_an_axis(write: Write) -> None:
    found = asked(write({**JOB, "count": 2, "matrix": {"cfg": [5, 6]}})).items
    assert [item.axes for item in found[:2]] == [(("cfg", "5"), ("seed", "1")), (("cfg", "5"), ("seed", "2"))]
    assert [item.label for item in found] == ["job1[1]", "job1[2]", "job1[3]", "job1[4]"]


def test_an_edit_keeps_its_caption_on_both_sides(write: Write, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(png(Image.new("RGB", (8, 8))))
    job = {"task": "edit", "photo": "photo.png", "caption": "a cat <edit:dog:0.5>"}
    (item,) = asked(write(job)).items
    assert item.settings.negative == "a cat"
    assert item.settings.sampler == "DDIM"
