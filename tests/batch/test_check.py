"""`ebca batch --check` validates and counts, and loads nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.batch.conftest import Write
from tests.cli.conftest import Ebca
from tests.cli.test_help import HEAVY, SCRIPT

JOBS = (
    {"prompt": "a cat", "count": 3, "sampler": "Euler"},
    {"prompt": "a dog", "negative": "x"},
    {"prompt": "a dog", "negative": "x"},
)


@pytest.mark.parametrize("command", [("batch", "--help"), ("grid", "--help"), ("batch", "JOBS", "--check")])
def test_nothing_heavy_is_loaded(write: Write, tmp_path: Path, command: tuple[str, ...]) -> None:
    file = str(write(*JOBS))
    arguments = [file if each == "JOBS" else each for each in command]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ",".join(HEAVY), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("outputs"))


def test_what_a_file_comes_to(write: Write, ebca: Ebca, tmp_path: Path) -> None:
    result = ebca("batch", write(*JOBS), "--check", "--json", "--out", tmp_path / "out", "--batch-size", 2)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["pictures"], facts["doubles"], facts["to_make"], facts["batches"]) == (4, 1, 4, 3)
    assert facts["tasks"] == {"txt2img": 4}
    # Three pictures of two Euler steps, and one of PLMS, which looks at a step twice.
    assert facts["evaluations"] == 3 * 2 + 3
    assert facts["seconds"] is None
    assert not (tmp_path / "out").exists()
    said = ebca("batch", write(*JOBS), "--check", "--out", tmp_path / "out").stdout
    assert "4: 4 txt2img (1 asked for twice, made once)" in said
    assert "not known: --measure finds out" in said


def test_a_mistake_is_exit_code_2(write: Write, ebca: Ebca) -> None:
    result = ebca("batch", write({"prompt": "a cat", "steps": "x"}), "--check")
    assert result.exit_code == 2
    assert "jobs.yaml:6: steps is 'x'" in result.stderr


def test_a_measurement_and_then_what_was_made_tell_the_time(write: Write, ebca: Ebca, tmp_path: Path) -> None:
    file, out = write(*JOBS), tmp_path / "out"
    measured = json.loads(ebca("batch", file, "--check", "--measure", "--json", "--out", out).stdout)
    assert measured["seconds"] > 0
    assert ebca("batch", file, "--out", out, "--quiet").exit_code == 0
    more = write(*JOBS, {"prompt": "a castle", "count": 5})
    facts = json.loads(ebca("batch", more, "--check", "--json", "--out", out).stdout)
    assert facts["to_make"] == 5
    assert facts["seconds"] > 0


def test_measure_belongs_to_check(write: Write, ebca: Ebca) -> None:
    result = ebca("batch", write(*JOBS), "--measure")
    assert result.exit_code == 2
    assert "--measure belongs to --check" in result.stderr
