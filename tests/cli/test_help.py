"""Help is instant: it loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "diffusers", "transformers", "numpy", "matplotlib", "PIL", "huggingface_hub")
COMMANDS = ("", "txt2img", "tokens", "info", "models", "demo", "bench", "heads")
SCRIPT = """
import sys
from cli.main import app
try:
    app(sys.argv[2:])
except SystemExit as ended:
    assert not ended.code, ended.code
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
assert not loaded, loaded
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy_and_is_quick(command: str) -> None:
    arguments = [*command.split(), "--help"]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ",".join(HEAVY), *arguments], capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    # An idle machine takes a fifth of a second; a busy one gets room.
    assert seconds < 3


def test_every_command_is_listed() -> None:
    done = subprocess.run([sys.executable, "-m", "cli", "--help"], capture_output=True, text=True, check=True)
    for command in filter(None, COMMANDS):
        assert f"  {command} " in done.stdout


def test_directives_in_help_are_shown_as_they_are_typed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli", "txt2img", "--help"], capture_output=True, text=True, check=True
    )
    assert "<edit:dog:0.75:from=0.5>" in done.stdout
