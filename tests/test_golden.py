"""The reference vectors, and the runner that compares with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.golden.__main__ import main
from tests.golden.case import OWN_FOLDER, Case, cases
from tests.golden.check import Verdict, verdicts_on


@pytest.mark.parametrize("case", list(cases(OWN_FOLDER)), ids=lambda case: case.name)
def test_vector(case: Case) -> None:
    found = list(verdicts_on(case))
    assert found
    assert not [verdict for verdict in found if verdict.status != "passed"]


def test_every_level_is_here() -> None:
    update = {"layer", "unet", "loop", "energy", "gamma_schedule"}
    head_relevance = {"hrv_votes", "hrv_matrix", "hrv_heads", "hrv_layer", "hrv_loop"}
    attend_and_excite = {"ae_maps", "ae_gradient", "ae_refine", "ae_loop", "hrv_ae_refine", "hrv_ae_loop"}
    assert {case.level for case in cases(OWN_FOLDER)} >= update | head_relevance | attend_and_excite
    assert {case.level for case in cases(OWN_FOLDER)} >= {
        "layer",
        "unet",
        "loop",
        "energy",
        "gamma_schedule",
        "hrv_votes",
        "hrv_matrix",
        "hrv_heads",
        "hrv_layer",
        "hrv_loop",
        "hrv_p2p_loop",
        "p2p_tables",
        "p2p_attention",
        "p2p_loop",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of one layer case and one energy case."""
    for name in ("layer_13_no_cfg_batch1", "energy_01"):
        for kind in ("json", "safetensors"):
            shutil.copy(OWN_FOLDER / f"{name}.{kind}", tmp_path)
    return tmp_path


def spoil(folder: Path, name: str, tensor: str, how: Callable[[Tensor], Tensor]) -> None:
    """Change one tensor of a case."""
    tensors = load_file(folder / f"{name}.safetensors")
    tensors[tensor] = how(tensors[tensor]).contiguous()
    save_file(tensors, folder / f"{name}.safetensors")


def test_a_run_ends_with_the_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "4 passed, 0 failed"
    assert lines[-3].startswith("energy: worst error float64")
    assert lines[-2].startswith("layer: worst error float64")


@pytest.mark.parametrize(
    ("tensor", "how", "failed"),
    [
        # Beyond float64's limit, within float32's.
        ("out64.C_main", lambda t: t + 2e-10, ["float64"]),
        ("out64.C_main", lambda t: t + 1e-5, ["float64", "float32"]),
        ("out64.output_state", lambda t: torch.full_like(t, torch.nan), ["float64", "float32"]),
        ("out64.output_state", lambda t: t[:, 1:], ["float64", "float32"]),
        ("out64.more", lambda t: t, ["float64", "float32"]),
        ("w.to_k", lambda t: 1.001 * t, ["float64", "float32"]),
    ],
    ids=["2e-10", "1e-5", "nan", "shape", "unmatched", "weights"],
)
def test_what_does_not_fit_fails(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    tensor: str,
    how: Callable[[Tensor], Tensor],
    failed: list[str],
) -> None:
    if tensor == "out64.more":
        tensors = load_file(folder / "layer_13_no_cfg_batch1.safetensors")
        save_file({**tensors, tensor: torch.zeros(1)}, folder / "layer_13_no_cfg_batch1.safetensors")
    else:
        spoil(folder, "layer_13_no_cfg_batch1", tensor, how)
    assert main([str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"{4 - len(failed)} passed, {len(failed)} failed"
    assert [line.split()[2].rstrip(":") for line in lines if line.startswith("failed layer_13")] == failed


def test_where_nothing_is_computed_nothing_may_differ() -> None:
    """A context that no gamma moves has no noise: float32 has to be equal, not near."""
    (case,) = (case for case in cases(OWN_FOLDER) if case.name == "unet_10_bcu_nonsquare")
    still = Case(case.name, case.level, case.folder)
    still.meta["f32_vs_f64_max_abs"]["context_1"] = 0.0
    found: dict[str, Verdict] = {verdict.precision: verdict for verdict in verdicts_on(still)}
    assert found["float64"].status == "passed"
    assert found["float32"].status == "failed"
    assert found["float32"].detail == "context_1"


def test_a_listed_case_whose_files_are_missing_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = [{"name": "layer_99", "level": "layer"}, {"name": "unet_a", "level": "weights"}]
    (folder / "MANIFEST.json").write_text(json.dumps({"cases": listed}), encoding="utf-8")
    assert main([str(folder)]) == 1
    out = capsys.readouterr().out
    assert "failed layer_99 float64: FileNotFoundError" in out
    assert out.splitlines()[-1] == "4 passed, 2 failed"


def test_a_wrong_table_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published = json.loads((OWN_FOLDER / "gamma_tables.json").read_text(encoding="utf-8"))
    published["tables"][2]["values"][5] *= 1 + 1e-7
    published["tables"][3]["values"].pop()
    (tmp_path / "gamma_tables.json").write_text(json.dumps(published), encoding="utf-8")
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "12 passed, 2 failed"


@pytest.mark.parametrize("make", [False, True])
def test_a_folder_without_vectors_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: bool) -> None:
    folder = tmp_path / "empty"
    if make:
        folder.mkdir()
    assert main([str(folder)]) == 2
    assert "holds no reference vectors" in capsys.readouterr().err
