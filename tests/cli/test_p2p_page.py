"""The published examples that the page names, run on the tiny model."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from lib_ebca.hosts.unet import cross_attention_layers
from lib_ebca.methods.head_vectors import HeadVectors
from tests.cli.conftest import Ebca, tiny_pipeline
from tests.cli.test_edit import photograph

__all__ = ["photograph"]

PAGE = Path(__file__).parents[2] / "docs" / "prompt-to-prompt.md"
COMMANDS = re.findall(r"\| `ebca ([^`]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_has_the_examples() -> None:
    assert len(COMMANDS) == 8


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_runs(
    ebca: Ebca, tiny_model: Path, tmp_path: Path, photograph: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name, *arguments = shlex.split(command.replace("dog.jpg", str(photograph)))
    if "--concept" in arguments:
        heads = tuple(layer.heads for _, layer in cross_attention_layers(tiny_pipeline().unet))
        HeadVectors(("Color",), torch.ones(1, sum(heads)), heads, "made up").write(tmp_path / "vectors.json")
        arguments += ["--vectors", str(tmp_path / "vectors.json")]
    result = ebca(name, *arguments, "--model", tiny_model, "--steps", 2, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out").glob("*.png"))) == (3 if name == "p2p" else 1)
