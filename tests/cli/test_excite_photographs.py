"""`--excite` in the commands that start from a photograph: it acts, is off without a word, and knows its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Ebca
from tests.cli.test_edit import edit, line_of, photograph, pixels
from tests.cli.test_img2img import vary
from tests.cli.test_inpaint import WAYS, inpaint, mask, nine_channels

__all__ = ["edit", "inpaint", "mask", "nine_channels", "photograph", "vary"]

SUBJECT = "dog:scale=1000:refine=off"
OFF = "dog:scale=0"
ASKED = ("a dog on a sofa", "--seed", 1, "--json")


@pytest.fixture(params=["img2img", "img2img one step", "plain", "repaint", "nine", "edit"])
def command(
    request: pytest.FixtureRequest,
    vary: Ebca,
    inpaint: Ebca,
    edit: Ebca,
    photograph: Path,
    mask: Path,
    nine_channels: Path,
) -> Ebca:
    """A command with all that it needs but for its subjects."""
    ways = {**WAYS, "nine": ("--model", nine_channels)}
    if request.param == "edit":
        return lambda *more: edit(photograph, "--caption", ASKED[0], "--edit", "castle:0.5", "--json", *more)
    if request.param in ways:
        return lambda *more: inpaint(photograph, mask, *ASKED, *ways[request.param], *more)
    strength = 0.25 if request.param == "img2img one step" else 0.75
    return lambda *more: vary(photograph, *ASKED, "--strength", strength, *more)


def test_a_subject_acts_and_an_idle_one_is_none(command: Ebca) -> None:
    plain, moved, off = (line_of(command(*more)) for more in ((), ("--excite", SUBJECT), ("--excite", OFF)))
    # Further than rounding goes.
    assert np.abs(pixels(str(moved["path"])) - pixels(str(plain["path"]))).max() > 1
    assert any("the latent was moved in" in sentence for sentence in moved["comments"])
    assert np.array_equal(pixels(str(off["path"])), pixels(str(plain["path"])))


def test_an_unknown_subject_is_one_sentence(command: Ebca, tmp_path: Path) -> None:
    failed = command("--excite", "horse")
    assert failed.exit_code == 2
    assert failed.stderr.strip().splitlines()[-1].count('"horse" is not in the prompt') == 1
    assert not list((tmp_path / "out").glob("*.png"))
