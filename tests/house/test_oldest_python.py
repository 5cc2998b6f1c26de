"""The oldest Python that is promised can read every file, and the checkers look at it with that Python's eyes.

Ruff refuses syntax that is newer, mypy names and arguments of the standard library that are: both in `make lint`. This
holds that all three say the same Python, and reads what neither of them is given: the WebUI's doors.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.graph import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
OLDEST = (3, 10)


def sources() -> list[Path]:
    folders = ("lib_ebca", "cli", "world", "training", "benchmarks", "website", "scripts", "tests")
    return [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]


def test_the_promise_and_the_checkers_name_the_same_python() -> None:
    named = "{}.{}".format(*OLDEST)
    assert f'requires-python = ">={named}"' in PYPROJECT
    assert f'python_version = "{named}"' in PYPROJECT
    assert 'target-version = "py{}{}"'.format(*OLDEST) in PYPROJECT
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert re.search(rf'python: \["{re.escape(named)}"', workflow)


def test_every_file_is_in_its_syntax() -> None:
    for path in sources():
        ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=OLDEST)


@pytest.mark.parametrize("newer", ["try:\n    pass\nexcept* ValueError:\n    pass\n", "type X = int\n"])
def test_newer_syntax_would_be_noticed(newer: str) -> None:
    with pytest.raises(SyntaxError):
        ast.parse(newer, feature_version=OLDEST)
