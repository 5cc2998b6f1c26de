"""Files and folders that their modes keep from whoever runs the command."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
import typer

from cli.errors import BAD_INPUT, sentences
from tests.cli.conftest import Ebca
from tests.cli.test_bad_input import refused
from tests.modes import modes_hold

CLOSED, LISTED = 0o000, 0o644


@pytest.fixture(params=[CLOSED, LISTED])
def closed(request: pytest.FixtureRequest, tmp_path: Path, tiny_model: Path) -> Path:
    """A folder that may not be entered, with a model and other files inside."""
    folder = tmp_path / "closed"
    shutil.copytree(tiny_model, folder / "model")
    shutil.copy(tiny_model / "unet" / "diffusion_pytorch_model.safetensors", folder / "a.safetensors")
    folder.chmod(request.param)
    return folder


def test_what_lies_in_a_closed_folder_cannot_be_read(ebca: Ebca, closed: Path, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.yaml"
    jobs.write_text("jobs: [{prompt: a cat}]")
    with_model = tmp_path / "model.yaml"
    with_model.write_text(f"jobs: [{{prompt: a cat, model: {closed}}}]")
    out = ("--out", tmp_path / "out")
    for arguments in (
        ("txt2img", "a cat", "--model", closed, *out),
        ("txt2img", "a cat", "--model", closed / "model", *out),
        ("txt2img", "a cat", "--model", closed / "a.safetensors", *out),
        ("txt2img", "a cat", "--lora", closed / "a.safetensors", *out),
        ("tokens", "a cat", "--model", closed),
        ("heads", "show", closed / "a.safetensors"),
        ("heads", "show", closed),
        ("batch", jobs, "--check", "--out", closed / "out"),
        ("batch", with_model, "--check", *out),
    ):
        with modes_hold():
            done = ebca(*arguments)
        refused(done, "cannot ", "read", closed.name, "ermission denied")
        assert "can be no path" not in done.stderr


@pytest.mark.parametrize("part", ["model_index.json", "scheduler/scheduler_config.json", "unet/config.json"])
def test_a_part_of_a_model_that_may_not_be_read_is_named(
    ebca: Ebca, tiny_model: Path, tmp_path: Path, part: str
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    (model / part).chmod(0)
    with modes_hold():
        done = ebca("txt2img", "a cat", "--model", model, "--out", tmp_path / "out")
    refused(done, f"{model / part}: Permission denied")
    assert "Errno" not in done.stderr


@pytest.mark.parametrize("mode", [0o300, 0o500])
def test_a_folder_for_pictures_is_written_to_and_listed(ebca: Ebca, tmp_path: Path, mode: int) -> None:
    jobs, out = tmp_path / "jobs.yaml", tmp_path / "out"
    jobs.write_text("jobs: [{prompt: a cat}]")
    out.mkdir(mode)
    with modes_hold():
        done = ebca("batch", jobs, "--out", out)
    # To root, who is bound here for a while, the system says that he may.
    refused(done, "cannot ", str(out), "ermission denied")


def test_a_home_is_meant_by_its_sign(
    ebca: Ebca, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert ebca("txt2img", "a cat", "--model", tiny_model, "--steps", 1, "--out", "~/cats", "--seed", 5).exit_code == 0
    assert [path.name for path in (tmp_path / "home" / "cats").iterdir()] == ["00001-5.png"]
    assert not (tmp_path / "~").exists()
    refused(ebca("txt2img", "a cat", "--out", "~nosuchuser/cats"), "cannot make the folder ~nosuchuser/cats")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE])
def test_what_the_machine_says_is_no_defect(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    for file in ("a.png", None):
        with pytest.raises(typer.Exit) as ended, sentences():
            raise OSError(number, "it cannot be", file) if file else OSError(number, "it cannot be")
        assert ended.value.exit_code == BAD_INPUT
        told = "cannot use a.png" if file else "cannot write"
        assert capsys.readouterr().err == f"Error: {told}: it cannot be\n"
    with pytest.raises(OSError), sentences():
        raise OSError(errno.EBADF, "a defect")
