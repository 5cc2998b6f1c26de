"""The terminal's manners: completion, no colour where none is wanted, the nearest right word."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from lib_ebca.language.checks import meant
from lib_ebca.studio import foreign
from tests.cli.conftest import Ebca


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_commands_are_completed(shell: str) -> None:
    asked = os.environ | {"_EBCA_COMPLETE": f"complete_{shell}", "COMP_WORDS": "ebca txt", "COMP_CWORD": "1"}
    asked |= {"_TYPER_COMPLETE_ARGS": "ebca txt", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    program = "import sys; sys.argv[0] = 'ebca'; from cli.main import app; app(prog_name='ebca')"
    done = subprocess.run([sys.executable, "-c", program], env=asked, capture_output=True, text=True, check=False)
    assert "txt2img" in done.stdout, done.stderr
    assert "inpaint" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of its own is made with a pty")
@pytest.mark.parametrize("colour", [True, False])
def test_no_color_is_heeded(colour: bool) -> None:
    asked = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm-256color"}
    asked |= {} if colour else {"NO_COLOR": "1"}
    ours, theirs = os.openpty()
    program = "from cli.progress import bar\nwith bar('drawing') as advance:\n    advance(1, 2)"
    subprocess.run([sys.executable, "-c", program], env=asked, stderr=theirs, check=True)
    written = os.read(ours, 1 << 16).decode()
    os.close(ours)
    os.close(theirs)
    assert "drawing" in written
    # Bold and dim are no colours.
    assert bool(re.search(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d", written)) is colour


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (("txt2imgg",), "txt2img"),
        (("txt2img", "a cat", "--sampler", "Eulerr"), "did you mean Euler?"),
        (("txt2img", "a cat", "--preset", "multi-concep"), "did you mean multi-concept?"),
        (("txt2img", "a cat", "--dtype", "floot16"), "did you mean float16?"),
        (("txt2img", "a cat", "--model", "shaps"), "did you mean shapes?"),
        (("tokens", "a cat <edit:dog:0.5:form=0.5>"), "did you mean from?"),
        (("tokens", "a cat <bcu:0.1:0.1:schedule=liner>"), "did you mean linear?"),
        (("tokens", "a circle <boost:cirlce:2>"), "did you mean circle?"),
    ],
)
def test_the_nearest_right_word_is_named(arguments: tuple[str, ...], nearest: str, ebca: Ebca) -> None:
    done = ebca(*arguments)
    assert done.exit_code == 2
    assert nearest in done.output


def test_what_is_near_to_nothing_is_not_guessed() -> None:
    assert meant("xyzzy", ("Euler", "Heun")) == ""
    assert meant("EULER A", ("Euler", "Euler a")) == " (did you mean Euler a?)"


def test_a_tag_that_is_nearly_a_directive_is_told() -> None:
    (note,) = foreign.unread_in_prompt("a cat <bost:cat:2>")
    assert "(did you mean boost?)" in note
    assert foreign.unread_in_prompt("a cat <wildcard:animals>") == ()


def test_what_the_webui_would_act_on_is_told_on_the_terminal(draw: Ebca) -> None:
    done = draw("a [cat:dog:0.5] AND a sofa")
    assert done.exit_code == 0
    for named in ("[cat:dog:0.5]", "AND"):
        assert f"{named} was read as plain text: the WebUI's" in done.stderr
    assert "plain text" not in draw("a cat and a sofa").stderr
