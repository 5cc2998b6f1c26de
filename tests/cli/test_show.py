"""--show: what is written to the terminal is the picture, read back by each protocol's rules."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy
import pytest
from PIL import Image

from cli import show
from tests.cli.conftest import Ebca


def _picture(width: int = 40, height: int = 13) -> Image.Image:
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (5, 2, 30, 9))
    image.paste((0, 255, 0), (width - 3, 0, width, height))
    return image


def _noise() -> Image.Image:
    return Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=numpy.uint8))


@pytest.mark.parametrize(
    ("environment", "how"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_a_terminal_is_known_by_what_it_says_of_itself(environment: dict[str, str], how: str | None) -> None:
    assert show.protocol(environment) == how


def test_kitty_gets_the_png_in_chunks() -> None:
    image = _noise()
    commands = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", show.drawn(image, "kitty"))
    assert len(commands) > 1 and all(len(data) <= 4096 for _, data in commands)
    assert [keys for keys, _ in commands] == ["a=T,f=100,m=1", *["m=1"] * (len(commands) - 2), "m=0"]
    read = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in commands))))
    assert read.tobytes() == image.tobytes()


def test_iterm_gets_the_png_and_its_size() -> None:
    found = re.fullmatch(r"\x1b\]1337;File=inline=1;size=(\d+):(.*)\x07", show.drawn(_noise(), "iterm"))
    assert found is not None
    data = base64.b64decode(found[2])
    assert len(data) == int(found[1])
    assert Image.open(io.BytesIO(data)).tobytes() == _noise().tobytes()


def test_sixel_draws_every_pixel() -> None:
    image = _picture()
    written = show.drawn(image, "sixel")
    found = re.fullmatch(r'\x1bPq"1;1;(\d+);(\d+)(.*)\x1b\\', written, re.DOTALL)
    assert found is not None and (int(found[1]), int(found[2])) == image.size
    canvas = numpy.full((image.height + 5, image.width, 3), -1)
    palette: dict[int, list[int]] = {}
    colour = x = top = 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|(\$)|(-)", found[3]):
        number, *rgb, chosen, count, sixel, back, down = token.groups()
        if number:
            palette[int(number)] = [round(int(value) * 255 / 100) for value in rgb]
        elif chosen:
            colour = int(chosen)
        elif back or down:
            x, top = 0, top + (6 if down else 0)
        else:
            bits = ord(sixel) - 63
            for row in (row for row in range(6) if bits >> row & 1):
                canvas[top + row, x : x + int(count)] = palette[colour]
            x += int(count)
    assert (canvas[: image.height] == numpy.asarray(image)).all()
    assert (canvas[image.height :] == -1).all()


def test_without_such_a_terminal_a_note_says_so(draw: Ebca, tmp_path: Path) -> None:
    done = draw("a cat", "--show", "--by-date")
    assert done.exit_code == 0, done.output
    assert show.NONE in done.output and "\x1b" not in done.output
    (folder,) = (tmp_path / "out").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", folder.name)
    assert len(list(folder.glob("*.png"))) == 1
