"""`ebca bench picture` with the embedded model and two steps: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.picture import PLANS
from cli.main import app


def test_every_way_draws_whole_pictures(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    done = CliRunner().invoke(app, ["bench", "picture", "--steps", "2", "--repeats", "2", "--json", str(target)])
    assert done.exit_code == 0, done.output
    assert "shapes, 64x64, 2 steps, 2 rounds" in done.output
    report = json.loads(target.read_text())
    assert [each["name"] for each in report["results"]] == list(PLANS)
    for each in report["results"]:
        assert each["seconds"] > 0 and each["peak_bytes"] > 0
        for ratio in (each["ratio"], each["cpu_ratio"]):
            assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    # To a few kilobytes: when Python lets go of what is no longer used is its own affair.
    assert report["results"][1]["peak_ratio"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("option", ["--steps", "--repeats", "--threads"])
def test_nothing_to_measure(option: str) -> None:
    done = CliRunner().invoke(app, ["bench", "picture", option, "0"])
    assert done.exit_code == 2
    assert f"{option} is 0: it should be a whole number of at least 1" in " ".join(done.output.split())
