"""The book's eye as a scorer, and the command that takes it from a model's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.alignment import attend_and_excite
from benchmarks.alignment.eye_judge import EyeJudge, eye_of
from benchmarks.alignment.prompts import Item, Prompt
from cli.main import app
from world.book.eye import EYE_FILE, Eye, save_eye
from world.book.vocabulary import NOUNS

CERTAIN = 20.0


def write_eye(folder: Path, *nouns: str) -> Path:
    """An eye that sees these nouns everywhere, and no other, whatever it is shown."""
    eye = Eye((16, 16, 16))
    assert eye.centres.bias is not None
    with torch.no_grad():
        eye.centres.weight.zero_()
        eye.centres.bias.fill_(-CERTAIN)
        for noun in nouns:
            eye.centres.bias[NOUNS.index(noun)] = CERTAIN
    save_eye(eye, folder / "judge" / EYE_FILE)
    return folder / "judge" / EYE_FILE


def scored(path: Path, prompt: Prompt) -> dict[str, float]:
    found = EyeJudge(path).score(torch.rand(1, 3, 128, 128), [Item("all", prompt, 0)])
    return {name: values[0] for name, values in found.items()}


def test_what_is_seen_is_held_against_what_was_asked(tmp_path: Path) -> None:
    pair = next(p for p in attend_and_excite.prompts("animal-animal") if "cat" in p.nouns)
    alone = scored(write_eye(tmp_path / "cat", "cat"), pair)
    assert alone["met"] == 0.5 and alone["neglected"] == 1 and alone["right"] == alone["nouns"] == 0
    blind = scored(write_eye(tmp_path / "none"), pair)
    assert blind["met"] == 0 and blind["neglected"] == 1
    worn = next(p for p in attend_and_excite.prompts("animal-object") if p.text == "a cat with a crown")
    both = scored(write_eye(tmp_path / "both", "cat", "crown"), worn)
    assert both["right"] == both["nouns"] == both["met"] == 1 and both["exact"] == 0 and both["neglected"] == 0
    assert {m.name for m in EyeJudge.metrics} == set(both)


def test_a_prompt_that_says_nothing_to_the_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'a fish': what it asks for"):
        scored(write_eye(tmp_path, "cat"), Prompt("a fish"))


def test_published_prompts_are_judged_by_the_models_own_eye(tiny_folder: Path, tmp_path: Path) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(tiny_folder, model)
    assert eye_of(model) is None
    common = ("bench", "alignment", "--model", str(model), "--set", "animal-animal", "--device", "cpu")
    refused = CliRunner().invoke(app, [*common, "--scorers", "judge", "--out", str(out)])
    assert refused.exit_code == 2 and "judge knows the sets one" in refused.output
    write_eye(model, "cat")
    small = ("--limit", "2", "--steps", "2", "--batch-size", "2", "--methods", "bcu", "--out", str(out))
    result = CliRunner().invoke(app, [*common, *small])
    assert result.exit_code == 0, result.output
    figures = json.loads((out / "summary.json").read_text())["figures"]
    assert {f["metric"] for f in figures} == {m.name for m in EyeJudge.metrics}
    other = CliRunner().invoke(app, [*common, "--set", "one", "--scorers", "judge", "--out", str(tmp_path / "mixed")])
    assert other.exit_code == 2 and "judge knows the sets animal-animal" in other.output
