"""What reaches the terminal: nothing that a picture, a prompt or a file of jobs holds is obeyed there."""

from __future__ import annotations

import errno
import io
import json
import unicodedata
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.console import Console

from cli.batch.progress import print_plain
from cli.errors import sentences
from cli.terminal import say, say_json, shown
from lib_ebca.studio.errors import UserError
from tests.cli.conftest import Ebca

TITLE = "\x1b]0;owned\x07"
TEXTS = st.text(st.characters(), max_size=80)


def with_text(path: Path, parameters: str) -> Path:
    text = PngInfo()
    text.add_itxt("parameters", parameters)
    Image.new("RGB", (8, 8)).save(path, pnginfo=text)
    return path


@given(TEXTS)
def test_what_is_shown_holds_no_control(text: str) -> None:
    out = shown(text)
    assert not [letter for letter in out if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t"]
    assert not set(out) & set("\u2028\u2029\u202a\u202e\u2066\u2069")
    out.encode()


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp")), max_size=80))
def test_letters_of_all_languages_stay(text: str) -> None:
    assert shown(text) == text


def test_letters_that_the_output_has_not_are_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is redirected on Windows knows a few letters alone."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="cp1252", newline="\n"))
    say("a café 猫")
    say_json({"prompt": "a café 猫"})
    say_json({"prompt": "a café"})
    text, escaped, plain = raw.getvalue().decode("cp1252").splitlines()
    assert text == "a café \\u732b"
    assert json.loads(escaped) == {"prompt": "a café 猫"}
    assert plain == '{"prompt": "a café"}'


def test_an_output_that_takes_no_more_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())
    with pytest.raises(UserError, match="cannot write to the output: No space left on device"):
        say("a cat")
    say("what comes after it goes nowhere")


def test_a_table_that_the_output_has_no_room_for_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout", io.StringIO())
    with pytest.raises(typer.Exit) as ended, sentences():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "Error: cannot write: No space left on device\n"


def test_info_shows_escapes(ebca: Ebca, tmp_path: Path) -> None:
    picture = with_text(tmp_path / "evil.png", f"a cat {TITLE}\nSteps: 2, Seed: 1, Size: 8x8, Note: \x9b2J")
    said = ebca("info", picture)
    assert said.exit_code == 0
    assert "\\x1b]0;owned\\x07" in said.stdout and "\\x9b2J" in said.stdout
    assert "\x1b" not in said.stdout and "\x9b" not in said.stdout

    read = ebca("info", picture, "--json")
    assert "\x1b" not in read.stdout and "\x9b" not in read.stdout
    assert json.loads(read.stdout)["prompt"] == f"a cat {TITLE}"


def test_an_error_shows_escapes_in_one_line(draw: Ebca) -> None:
    said = draw(f"a cat <edit:{TITLE}\ndog")
    assert said.exit_code == 2
    assert "\x1b" not in said.stderr and "\\x1b]0;owned\\x07" in said.stderr
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["a <lora:[/x]:1> cat", "[/]", "[bold]x[/bold]", ":smile: [link=http://x]y[/link]"])
def test_a_bar_takes_no_text_for_markup(text: str) -> None:
    written = io.StringIO()
    print_plain(Console(file=written, width=200, force_terminal=True), text, True)
    assert written.getvalue().rstrip("\n") == text
