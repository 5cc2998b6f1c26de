"""`ebca img2img` on the tiny model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib_ebca.studio import infotext
from tests.cli.conftest import Ebca
from tests.cli.test_edit import line_of, photograph, pixels

__all__ = ["photograph"]


@pytest.fixture
def vary(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> Ebca:
    common = ("--model", tiny_model, "--steps", 4, "--out", tmp_path / "out")
    return lambda *arguments: ebca("img2img", *common, *arguments)


def test_strength_is_how_far_it_goes(vary: Ebca, photograph: Path) -> None:
    little, much = (
        line_of(vary(photograph, "a dog", "--strength", strength, "--seed", 1, "--json")) for strength in (0.25, 1.0)
    )
    with Image.open(little["path"]) as image:
        fields = infotext.read(str(infotext.from_picture(image))).fields
    assert fields["Denoising strength"] == "0.25" and fields["EBCA task"] == "img2img"
    assert not np.array_equal(pixels(little["path"]), pixels(much["path"]))


@pytest.mark.parametrize("sampler", ["Euler", "DPM++ 2M Karras", "DDIM", "PLMS"])
def test_a_plan_acts_with_every_kind_of_sampler(vary: Ebca, photograph: Path, sampler: str) -> None:
    common = (photograph, "a dog", "--seed", 1, "--sampler", sampler, "--json")
    stock, moved = line_of(vary(*common)), line_of(vary(*common, "--bcu", "0.5:0.1", "--edit", "cat:0.9"))
    assert moved["comments"] == []
    assert not np.array_equal(pixels(stock["path"]), pixels(moved["path"]))


def test_seeds_and_repetition(vary: Ebca, photograph: Path) -> None:
    result = vary(photograph, "a dog <edit:cat:0.5>", "--seed", 8, "--count", 2, "--strength", 0.5)
    assert result.exit_code == 0, result.output
    first, second = result.stdout.split()
    assert Path(first).stem.endswith("-8") and Path(second).stem.endswith("-9")
    again = line_of(vary(photograph, "--from", second, "--json"))
    assert np.array_equal(pixels(second), pixels(again["path"]))
    assert not np.array_equal(pixels(first), pixels(second))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a dog", "--strength", 0), "--strength is 0: it should be above 0 and at most 1"),
        (("a dog", "--strength", 1.5), "--strength is 1.5"),
        (("a dog", "--strength", 0.1), "--strength 0.1 of 4 steps is none at all"),
        ((), "there is nothing to draw"),
        (("a dog <edit:cat>",), "<edit:cat>"),
    ],
)
def test_bad_input_is_one_sentence(vary: Ebca, photograph: Path, arguments: tuple[object, ...], words: str) -> None:
    result = vary(photograph, *arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ") and words in result.stderr and len(result.stderr.splitlines()) == 1
