"""`ebca edit` on the tiny model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_ebca.studio import infotext, task
from tests.cli.conftest import SIZE, Ebca

DOG = ("--caption", "a cat", "--edit", "dog:0.75:from=0.5", "--edit", "cat:-0.65:from=0.5")


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    axis = np.linspace(0, 255, SIZE).astype(np.uint8)
    values = np.stack([np.tile(axis, (SIZE, 1)), np.tile(axis[:, None], (1, SIZE)), np.full((SIZE, SIZE), 90)], -1)
    path = tmp_path / "photo.png"
    Image.fromarray(values.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def edit(ebca: Ebca, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ebca:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    common = ("--model", tiny_model, "--steps", 4, "--out", tmp_path / "out")
    return lambda *arguments: ebca("edit", *common, *arguments)


def line_of(result: Any) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    lines = result.stdout.strip().splitlines()
    assert len(lines) == 1
    found: dict[str, Any] = json.loads(lines[0])
    return found


def pixels(path: str | Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_an_edit_changes_the_photograph_and_is_written_into_the_picture(edit: Ebca, photograph: Path) -> None:
    line = line_of(edit(photograph, *DOG, "--json"))
    plain = line_of(edit(photograph, "--caption", "a cat", "--reconstruct", "--json"))
    assert np.abs(pixels(line["path"]) - pixels(plain["path"])).max() > 0
    with Image.open(line["path"]) as image:
        text = infotext.from_picture(image)
    assert text is not None
    info = infotext.read(text)
    assert info.prompt == info.negative == "a cat"
    assert info.fields["EBCA"] == "<edit:dog:0.75:from=0.5> <edit:cat:-0.65:from=0.5>"
    assert task.from_text(text, "edit").inverting == task.Inverting()


def test_reconstruct_says_how_well(edit: Ebca, photograph: Path) -> None:
    line = line_of(edit(photograph, "-c", "a cat", "--reconstruct", "--iterations", 40, "--tolerance", 1e-6, "--json"))
    # The VAE has random weights: what it can give back at all is the measure.
    assert abs(line["psnr"] - line["vae_psnr"]) < 0.3
    result = edit(photograph, "-c", "a cat", "--reconstruct")
    assert re.search(r"^PSNR \d+\.\d\d dB; the VAE alone gives \d+\.\d\d dB$", result.stdout, re.MULTILINE)


def test_published_inversion_and_its_numbers(edit: Ebca, photograph: Path) -> None:
    options = ("-c", "a cat", "--reconstruct", "--inversion", "published", "--json")
    weak, strong = (
        line_of(edit(photograph, *options, "--rounds", rounds, "--auto-correlation", 5, "--kl", 1, "--seed", 3))
        for rounds in (0, 5)
    )
    assert np.abs(pixels(weak["path"]) - pixels(strong["path"])).max() > 0


def test_another_edit_costs_only_its_sampling(edit: Ebca, photograph: Path, tmp_path: Path) -> None:
    line_of(edit(photograph, *DOG, "--json"))
    cached = list((tmp_path / "cache").rglob("*.safetensors"))
    assert len(cached) == 1
    stamp = cached[0].stat().st_ino
    first = line_of(edit(photograph, *DOG, "--json"))
    other = line_of(edit(photograph, "-c", "a cat", "--edit", "dog:0.3", "--json"))
    assert [path.stat().st_ino for path in (tmp_path / "cache").rglob("*.safetensors")] == [stamp]
    bypassed = line_of(edit(photograph, *DOG, "--no-cache", "--json"))
    assert np.array_equal(pixels(first["path"]), pixels(bypassed["path"]))
    assert not np.array_equal(pixels(first["path"]), pixels(other["path"]))
    for change in (("-c", "a dog"), ("--steps", 5), ("--inversion", "published"), ("--iterations", 3)):
        line_of(edit(photograph, *DOG, *change, "--json"))
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 5


def test_no_cache_leaves_nothing(edit: Ebca, photograph: Path, tmp_path: Path) -> None:
    line_of(edit(photograph, *DOG, "--no-cache", "--json"))
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_takes_nothing_loses_nothing(
    edit: Ebca, photograph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    line = line_of(edit(photograph, *DOG, "--json"))
    assert Path(line["path"]).exists()
    assert line["comments"][0].startswith("Cannot keep the inversion in ") and "--no-cache" in line["comments"][0]


def test_from_repeats_the_picture_with_the_same_photograph_only(edit: Ebca, photograph: Path, tmp_path: Path) -> None:
    options = ("--inversion", "published", "--seed", 5, "--cfg", 4, "--negative", "blurry", "--fit", "crop")
    first = line_of(edit(photograph, *DOG, *options, "--json"))
    moved = tmp_path / "moved.bmp"
    with Image.open(photograph) as image:
        image.save(moved)
    again = line_of(edit(moved, "--from", first["path"], "--no-cache", "--json"))
    assert np.array_equal(pixels(first["path"]), pixels(again["path"]))
    assert again["plan"] == first["plan"] and again["negative"] == "blurry"
    with Image.open(photograph) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photograph)
    refused = edit(photograph, "--from", first["path"])
    assert refused.exit_code == 2 and "was made from another photograph" in refused.stderr


def test_from_repeats_a_cropped_picture_and_follows_a_new_caption(edit: Ebca, tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 38, 3), dtype=np.uint8)).save(path)
    first = line_of(edit(path, *DOG, "--fit", "crop", "--json"))
    again = line_of(edit(path, "--from", first["path"], "--json"))
    assert pixels(first["path"]).shape == (40, 32, 3)
    assert np.array_equal(pixels(first["path"]), pixels(again["path"]))
    other = line_of(edit(path, "--from", first["path"], "--caption", "a cat on a sofa", "--edit", "dog:0.5", "--json"))
    assert other["negative"] == other["prompt"] == "a cat on a sofa"


@pytest.mark.parametrize("size", [(1, 1), (37, 23), (8, 64), (300, 200)])
@pytest.mark.parametrize("fit", ["resize", "crop"])
def test_sizes_come_back(edit: Ebca, tmp_path: Path, size: tuple[int, int], fit: str) -> None:
    path = tmp_path / "odd.png"
    Image.new("RGB", size, (10, 200, 90)).save(path)
    line = line_of(edit(path, *DOG, "--fit", fit, "--json"))
    with Image.open(line["path"]) as image:
        if fit == "resize":
            assert image.size == size
        else:
            assert all(side <= given for side, given in zip(image.size, size, strict=True))


def test_transparency_comes_back(edit: Ebca, photograph: Path) -> None:
    with Image.open(photograph) as image:
        image.putalpha(Image.new("L", image.size, 77))
        image.save(photograph)
    line = line_of(edit(photograph, *DOG, "--json"))
    with Image.open(line["path"]) as image:
        assert image.mode == "RGBA" and image.getchannel("A").getextrema() == (77, 77)


def test_a_preset_brings_its_edits_and_drift(edit: Ebca, photograph: Path) -> None:
    line = line_of(edit(photograph, "-c", "a cat", "--preset", "cat-to-dog", "--json"))
    with Image.open(line["path"]) as image:
        fields = infotext.read(str(infotext.from_picture(image))).fields
    assert fields["EBCA"].startswith("<edit:dog:0.75:from=0.5:attn=0.0006:norm=0.0006>")
    assert fields["EBCA drift"] == "True"
    line = line_of(edit(photograph, "-c", "a cat", "--preset", "cat-to-dog", "--no-drift", "--json"))
    with Image.open(line["path"]) as image:
        assert "EBCA drift" not in infotext.read(str(infotext.from_picture(image))).fields


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--caption", "a cat"), "there is nothing to change: add --edit"),
        (DOG[2:], "the photograph needs a caption"),
        (("-c", " ", *DOG[2:]), "the photograph needs a caption"),
        (("-c", "a cat", "--edit", ""), "--edit '': it lacks"),
        ((*DOG, "--reconstruct"), "--reconstruct gives the photograph back as it is: leave out --to, --edit, --bcu"),
        (("-c", "a cat <edit:dog:0.5>", "--reconstruct"), "--reconstruct gives the photograph back as it is"),
        (("-c", "a cat", "--preset", "faces", "--reconstruct"), "--reconstruct gives the photograph back as it is"),
        (
            ("-c", "a cat", "--preset", "inpaint"),
            "preset is 'inpaint', which is for `ebca inpaint`: for edit it should",
        ),
        ((*DOG, "--inversion", "best"), "--inversion is 'best': it should be one of fixed-point, published"),
        ((*DOG, "--iterations", 0), "--iterations is 0"),
        ((*DOG, "--kl", -1), "--kl is -1: it should not be negative"),
        ((*DOG, "--tolerance", "nan"), "--tolerance is nan"),
        ((*DOG, "--steps", 1), "--steps is 1: an inversion needs at least 2"),
        ((*DOG, "--steps", 1000), "steps is 1000: it should be 2 to 999"),
        ((*DOG, "--fit", "stretch"), "--fit is 'stretch'"),
        ((*DOG, "--preset", "cat2dog"), "preset is 'cat2dog'"),
        ((*DOG, "--width", 33), "--width is 33: it should be a multiple of 8"),
        ((*DOG, "--from", "nothing.png"), "there is no file nothing.png"),
        ((*DOG, "--cache-size", -1), "--cache-size is -1"),
    ],
)
def test_bad_input_is_one_sentence(
    edit: Ebca, photograph: Path, tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    result = edit(photograph, *arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ") and words in result.stderr and len(result.stderr.splitlines()) == 1
    assert not list((tmp_path / "out").glob("*.png"))


def test_photographs_that_are_none(edit: Ebca, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    Image.new("RGB", (90, 2)).save(tmp_path / "line.png")
    for name, words in (("broken.jpg", "as a picture"), ("none.png", "there is no file"), ("line.png", "longer side")):
        result = edit(tmp_path / name, *DOG)
        assert result.exit_code == 2 and words in result.stderr and len(result.stderr.splitlines()) == 1
