"""docs/editing.md: every `ebca` command on the page runs, on tiny models of random weights."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib_ebca.language.presets import PRESETS
from tests.cli.conftest import SIZE, Ebca
from tests.cli.test_inpaint import nine_channels

__all__ = ["nine_channels"]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "editing.md"
PHOTOGRAPHS, MASK = ("PHOTO", "PICTURE", "cat.jpg", "horse.jpg", "face.jpg", "sky.png"), ("MASK", "mask.png")
# Each pass is short; with these, RePaint's jumps fit in.
STEPS = {"bench": ("--steps", "4", "--scenes", "1"), "inpaint": ("--steps", "12")}


def commands(page: str) -> list[str]:
    """The commands in fences and between backticks, each once."""
    fences = re.findall(r"^```\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [line for fence in fences for line in fence.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```\n.*?^```", "", page, flags=re.MULTILINE | re.DOTALL))
    return list(
        dict.fromkeys(text.partition("  #")[0].strip() for text in (*lines, *spans) if text.startswith("ebca "))
    )


COMMANDS = commands(PAGE.read_text(encoding="utf-8"))
WITH_ARGUMENTS = [command for command in COMMANDS if len(shlex.split(command)) > 3]


def test_commands_are_found_in_fences_and_between_backticks() -> None:
    assert commands("say `ebca a` and `b`\n```\nebca c 'd'  # why\nmake\n```\n| `ebca e` | `ebca a` |") == [
        "ebca c 'd'",
        "ebca a",
        "ebca e",
    ]
    assert len(WITH_ARGUMENTS) >= 12 and len(COMMANDS) > len(WITH_ARGUMENTS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in WITH_ARGUMENTS])
def test_every_command_that_is_named_exists(ebca: Ebca, command: str) -> None:
    result = ebca(*shlex.split(command)[1:], "--help")
    assert result.exit_code == 0, result.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are run: with the photographs, the mask and the pages that they name."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("alignment"))
    shutil.copy(ROOT / "README.md", tmp_path)
    for page in (tmp_path / "docs" / "editing.md", tmp_path / "README.md"):
        # A model without an eye, as the tiny one is, edits scenes of coloured shapes, whose tables have other names.
        text = page.read_text(encoding="utf-8")
        page.write_text(re.sub(r"(<!-- editing(-details)?)-book:", r"\1:", text), encoding="utf-8")
    values = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    for name in PHOTOGRAPHS:
        Image.fromarray(values).save(tmp_path / name, "PNG")
    for name in MASK:
        Image.fromarray(values[..., 0] // 128 * 255).save(tmp_path / name, "PNG")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def tiny(command: str, tiny_model: Path, nine_channels: Path) -> list[str]:
    """The command's arguments, with a tiny model for the one it names and few steps."""
    words = shlex.split(command)[1:]
    named = words[words.index("--model") + 1] if "--model" in words else ""
    model = nine_channels if "inpainting" in named else tiny_model
    if named:
        place = words.index("--model")
        words = [*words[:place], *words[place + 2 :]]
    steps = STEPS.get(words[0], ("--steps", "4"))
    return [*words, "--model", str(model), *steps]


@pytest.mark.parametrize("command", WITH_ARGUMENTS)
def test_every_command_runs(ebca: Ebca, folder: Path, tiny_model: Path, nine_channels: Path, command: str) -> None:
    result = ebca(*tiny(command, tiny_model, nine_channels))
    assert result.exit_code == 0, result.output
    if " bench " not in command:
        assert len(list((folder / "outputs").glob("*.png"))) == 1


def test_every_published_example_is_on_the_page(
    ebca: Ebca, folder: Path, tiny_model: Path, nine_channels: Path
) -> None:
    drawn = []
    for command in WITH_ARGUMENTS:
        if " bench " not in command:
            drawn.append(json.loads(ebca(*tiny(command, tiny_model, nine_channels), "--json").stdout))
    subjects = (PAGE.parent / "attend-and-excite.md").read_text(encoding="utf-8")
    for preset in PRESETS.values():
        assert f'"{preset.prompt}" --preset {preset.name}' in subjects or any(
            line["plan"] == preset.plan.to_dict() and line["prompt"].startswith(preset.prompt) for line in drawn
        ), preset.name


def test_the_commands_of_the_presets_run(ebca: Ebca, folder: Path, tiny_model: Path, nine_channels: Path) -> None:
    for listed in json.loads(ebca("presets", "--json").stdout):
        result = ebca(*tiny(listed["command"], tiny_model, nine_channels), "--json")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["plan"] == listed["plan"]
