"""`ebca bench overhead` at tiny size: what it prints, what it writes, what it refuses."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.overhead import Setting, SettingError
from benchmarks.ways import WAYS
from cli.main import app

TINY = ["bench", "overhead", "--arch", "tiny", "--size", "8x16", "--repeats", "2"]


def overhead(*options: str) -> Any:
    return CliRunner().invoke(app, [*TINY, *options])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("overhead") / "report.json"
    done = overhead("--variants", "all", "--json", str(target))
    assert done.exit_code == 0, done.output
    assert "published" in done.output and "tiny, latents 8x16, batch 1, float32" in done.output
    assert [file.name for file in target.parent.iterdir()] == ["report.json"]
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def test_the_report_says_what_was_measured_and_on_what(report: dict[str, Any]) -> None:
    assert set(report) == {"setting", "machine", "versions", "weight_bytes", "results"}
    assert (report["setting"]["height"], report["setting"]["width"], report["setting"]["arch"]) == (8, 16, "tiny")
    assert set(report["versions"]) == {"python", "torch", "diffusers", "cuda"}
    assert report["machine"]["cpu"] and report["machine"]["threads"] == 1
    assert report["weight_bytes"] > 0
    assert [result["name"] for result in report["results"]] == list(WAYS)


def test_every_way_was_timed_and_counted(report: dict[str, Any]) -> None:
    for result in report["results"]:
        assert len(result["samples"]) == 2 and all(sample["wall"] > 0 for sample in result["samples"])
        for ratio in (result["ratio"], result["cpu_ratio"]):
            assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"] < math.inf
        assert result["seconds"] > 0 and result["fastest_ratio"] > 0
        # A concept alone makes nothing, and the main context's keys and values are kept.
        least = 0.95 if result["name"] == "concept" else 1
        assert result["flops_ratio"] >= least and result["peak_bytes"] > 0
        assert min(result["count"].values()) >= 0 and result["count"]["launches"] > 0


def test_off_is_the_stock_model_in_every_number(report: dict[str, Any]) -> None:
    by_name = {result["name"]: result for result in report["results"]}
    for name in ("off", "idle"):
        assert by_name[name]["count"] == by_name["stock"]["count"]
        assert by_name[name]["peak_bytes"] == by_name["stock"]["peak_bytes"]
    assert by_name["published+2"]["flops_ratio"] > by_name["bcu+2"]["flops_ratio"]


def test_json_alone_on_stdout() -> None:
    done = overhead("--variants", "bcu", "--repeats", "0", "--json", "-", "--dtype", "bfloat16", "--batch", "2")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert [result["name"] for result in found["results"]] == ["stock", "bcu"]
    assert all(result["seconds"] is None and result["ratio"] is None for result in found["results"])


def test_layers_alone_count_the_same() -> None:
    found = []
    for options in ((), ("--layers",)):
        done = overhead("--variants", "bcu+2,edit", "--json", "-", *options)
        assert done.exit_code == 0, done.output
        found.append(json.loads(done.stdout)["results"])
    for whole, layers in zip(*found, strict=True):
        assert layers["count"] == whole["count"] and layers["flops_ratio"] == whole["flops_ratio"]
        assert layers["peak_bytes"] is None
        assert len(layers["samples"]) == 2 and layers["seconds"] > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--arch", "sd3"), "--arch is 'sd3': it should be one of sd15, sd21, sdxl, tiny"),
        (("--size", "64"), "--size '64': it should be height and width of the latents, like 64x64"),
        (("--size", "4x64"), "--height is 4: it should be at least 8"),
        (("--variants", "bcu,bcu+3"), "--variants is 'bcu+3': it should be one of stock, off"),
        (("--dtype", "int8"), "--dtype is 'int8': it should be one of float32, float16, bfloat16, float64"),
        (("--device", "abacus"), "--device is 'abacus': it should be one that PyTorch can use on this machine"),
        (("--repeats", "-1"), "--repeats is -1: it should be a whole number of at least 0"),
        (
            ("--compile", "--compile-mode", "fast"),
            "--compile-mode is 'fast': it should be one of default,",
        ),
        (("--layers", "--variants", "pag"), "--variants is 'pag': it should be one of our own with --layers"),
        (("--layers", "--compile"), "--layers is True: it should be left out with --compile"),
        (("--threads", "0"), "--threads is 0: it should be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(options: tuple[str, ...], said: str) -> None:
    done = overhead(*options)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    done = overhead("--variants", "stock", "--repeats", "0", "--json", str(tmp_path / "nowhere" / "report.json"))
    assert done.exit_code == 2
    assert "cannot be written" in done.output and not list(tmp_path.iterdir())


def test_stock_is_always_measured_and_first() -> None:
    assert Setting(ways=("bcu", "stock", "bcu")).ways == ("stock", "bcu")
    with pytest.raises(SettingError):
        Setting(ways=("nonsense",))


def test_help_is_light() -> None:
    code = "from cli.bench import app; app(['overhead', '--help'], standalone_mode=False)"
    code += "; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False")
