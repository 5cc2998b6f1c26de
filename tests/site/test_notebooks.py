"""The notebooks run from the first cell to the last, and show what the files keep."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests import notebooks

LARGEST = 300_000  # bytes of a file
# Inside this project a notebook may name what docs/python.md promises, and nothing else.
PROMISED = (
    "lib_ebca",
    "lib_ebca.studio",
    "lib_ebca.attention.energy",
    "lib_ebca.methods",
)


def _imports(path: Path) -> list[str]:
    lines = [line for cell in notebooks.code(notebooks.read(path)) for line in cell.source.splitlines()]
    return [line.split()[1] for line in lines if line.startswith(("from ", "import "))]


def test_there_is_a_notebook_for_each_of_the_published_ones() -> None:
    assert [path.stem[0] for path in notebooks.NOTEBOOKS] == list("1234567")


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_it_installs_first_says_what_is_seen_and_stays_within_the_public_interface(path: Path) -> None:
    notebook = notebooks.read(path)
    assert "**To be seen:**" in notebook.cells[0].source
    assert "%pip install" in notebook.cells[1].source
    ours = [
        name for name in _imports(path) if name.split(".")[0] in ("lib_ebca", "cli", "world", "benchmarks", "tests")
    ]
    assert ours and set(ours) <= set(PROMISED)


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_it_keeps_what_it_shows_and_nothing_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = notebooks.read(path)
    assert len(text) < LARGEST
    for cell in notebooks.code(notebook):
        assert cell.execution_count is None and not cell.metadata
        assert all(set(output.get("data", ())) <= {"image/png", "text/plain"} for output in cell.outputs)
    assert any("picture" in kinds for kinds in notebooks.shown(notebook))
    # A container's home may be the root itself, which every path begins with.
    places = {Path.home(), Path(tempfile.gettempdir()), notebooks.ROOT} - {Path("/")}
    assert not [place for place in places if str(place) in text]


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS, ids=lambda path: path.stem)
def test_run_afresh_it_shows_as_much_as_it_keeps(path: Path) -> None:
    assert notebooks.shown(notebooks.executed(path)) == notebooks.shown(notebooks.read(path))
