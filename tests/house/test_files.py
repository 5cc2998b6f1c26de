"""What is in the repository: nothing that a merge or an editor left behind."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.house.graph import ROOT

STRAY = (".orig", ".rej", ".bak", ".tmp", ".swp", ".pyc", ".whl", ".DS_Store")


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="a copy without its history has no list"
)
def test_no_stray_file_is_tracked() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not [name for name in listed.splitlines() if name.endswith(STRAY)]


def test_stray_files_are_ignored() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert {"*.orig", "*.rej", "*.bak"} <= set(ignored)
