"""`ebca edit PHOTO --to PROMPT --follow` on the tiny model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Ebca
from tests.cli.test_edit import edit, line_of, photograph, pixels

__all__ = ["edit", "photograph"]

TO = ("--caption", "a cat on a sofa", "--to", "a dog on a sofa")


def test_the_edited_prompt_follows_the_reconstruction(edit: Ebca, photograph: Path) -> None:
    back = pixels(line_of(edit(photograph, *TO[:2], "--reconstruct", "--json"))["path"])
    free = pixels(line_of(edit(photograph, *TO, "--json"))["path"])
    followed = pixels(line_of(edit(photograph, *TO, "--follow", "--self", "1", "--cross", "1", "--json"))["path"])
    # More than a batch of two rounds differently from one.
    assert np.abs(followed - free).max() > 1
    assert np.abs(followed - back).max() > 1
    assert np.abs(followed - back).mean() < np.abs(free - back).mean()


def test_what_is_asked_of_the_wanted_picture_is_asked_of_it_beside_the_one_it_follows_too(
    edit: Ebca, photograph: Path
) -> None:
    asked = (*TO, "--follow", "--json")
    plain = pixels(line_of(edit(photograph, *asked))["path"])
    for more in (("--bcu", "1:1"), ("--edit", "a castle:0.9"), ("--excite", "dog:scale=1000:refine=off")):
        assert np.abs(pixels(line_of(edit(photograph, *asked, *more))["path"]) - plain).max() > 1, more


def test_nothing_that_is_followed_is_an_edit_that_is_free(edit: Ebca, photograph: Path) -> None:
    free = pixels(line_of(edit(photograph, *TO, "--json"))["path"])
    followed = pixels(line_of(edit(photograph, *TO, "--follow", "--self", "0", "--cross", "0", "--json"))["path"])
    assert np.abs(followed - free).max() <= 1


def test_a_followed_edit_is_made_again_from_its_picture(edit: Ebca, photograph: Path) -> None:
    first = line_of(edit(photograph, *TO, "--follow", "--cross", "0.2-0.9", "--bcu", "1:1", "--json"))["path"]
    again = line_of(edit(photograph, "--from", first, "--json"))["path"]
    assert (pixels(first) == pixels(again)).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-c", "a cat", "--follow"), "say which with --to PROMPT"),
        ((*TO[:2], "--to", " "), "--to is empty"),
        ((*TO, "--cross", "0.5"), "add --follow"),
        ((*TO, "--reconstruct"), "leave out --to"),
        ((*TO, "--follow", "--cross", "x"), "--cross is 'x': it should be a number"),
    ],
)
def test_bad_input_is_one_sentence(edit: Ebca, photograph: Path, arguments: tuple[str, ...], sentence: str) -> None:
    result = edit(photograph, *arguments)
    assert result.exit_code != 0
    assert sentence in result.stderr
