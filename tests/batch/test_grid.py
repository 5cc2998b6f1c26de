"""Contact sheets: what stands where, as PNG and as a page."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cli.batch.contact import refuse_others
from cli.batch.grid import cubes
from cli.batch.store import Store
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.pictures import open_picture
from tests.batch.conftest import Write, asked
from tests.cli.conftest import Ebca

MATRIX = {"seed": [1, 2, 3], "gamma": [0, 1], "steps": [1, 2]}
JOB = {"name": "cats", "prompt": "a cat </script> on a sofa", "bcu": "{{gamma}}:0", "matrix": MATRIX}


class Page(HTMLParser):
    """The facts and the sliders of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sliders: list[dict[str, str | None]] = []
        self.facts = ""
        self.sources: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if given.get("type") == "range":
            self.sliders.append(given)
        self.sources += [str(given[name]) for name in ("src", "href") if name in given]
        self._inside = given.get("id") == "facts"

    def handle_data(self, data: str) -> None:
        self.facts += data if self._inside else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def test_axes_lie_as_they_are_asked_to(write: Write) -> None:
    items = asked(write(JOB)).items
    (cube,) = cubes(items, None, None)
    assert [axis.name for axis in cube.axes] == ["seed", "gamma", "steps"]
    assert list(cube.pages) == [("1",), ("2",)]
    found = cube.at("2", "1", ("1",))
    assert found is not None and (found.seed, found.settings.steps) == (2, 1)
    (turned,) = cubes(items, None, "seed")
    assert [axis.name for axis in turned.axes] == ["gamma", "seed", "steps"]
    (turned,) = cubes(items, "steps", None)
    assert [axis.name for axis in turned.axes] == ["steps", "seed", "gamma"]
    for x, y in (("colour", None), ("seed", "seed")):
        with pytest.raises(UserError, match="--x"):
            cubes(items, x, y)
    with pytest.raises(UserError, match="no job has a matrix"):
        cubes(asked(write({"prompt": "a cat"})).items, None, None)


def test_one_axis_is_one_row(write: Write) -> None:
    (cube,) = cubes(asked(write({"prompt": "a cat", "count": 2})).items, None, None)
    assert (cube.down.values, list(cube.pages)) == (("",), [()])
    found = cube.at("1", "", ())
    assert found is not None and found.seed == 1


def test_sheets_and_page(write: Write, ebca: Ebca, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bad = {"prompt": "a dog", "boost": ["{{word}}:2"], "matrix": {"word": ["dog", "castle"]}, "name": "bad"}
    result = ebca("grid", write(JOB, bad), "--out", out)
    assert result.exit_code == 1, result.output
    names = ["grid-cats-1.png", "grid-cats-2.png", "grid-cats.html", "grid-bad.png", "grid-bad.html"]
    assert [line for line in result.stdout.splitlines() if "/grid-" in line] == [f"{out}/{name}" for name in names]
    assert open_picture(out / names[0]).width > 3 * 256

    text = (out / "grid-cats.html").read_text(encoding="utf-8")
    assert "<h1>cats: a cat &lt;/script&gt; on a sofa</h1>" in text
    page = Page(text)
    assert [(slider["max"], slider["data-axis"]) for slider in page.sliders] == [("2", "0"), ("1", "1"), ("1", "2")]
    # Nothing is fetched from anywhere.
    assert not [source for source in page.sources if not source.startswith("data:")]
    facts = json.loads(page.facts)
    assert [axis["values"] for axis in facts["axes"]] == [["1", "2", "3"], ["0", "1"], ["1", "2"]]
    assert len(facts["cells"]) == 12
    (cube,) = cubes(asked(write(JOB)).items, None, None)
    for cell in facts["cells"]:
        place = tuple(axis["values"][at] for axis, at in zip(facts["axes"], cell["at"], strict=True))
        data = base64.b64decode(cell["source"].partition(",")[2])
        assert data == (out / cube.items[place].name).read_bytes()
        assert cell["text"].startswith("a cat </script> on a sofa")
    missing = json.loads(Page((out / "grid-bad.html").read_text()).facts)["cells"]
    assert [cell["source"] is None for cell in missing] == [False, True]
    # Its own it may lay out again.
    refuse_others([cube], Store(str(out)))


@pytest.mark.parametrize("name", ["grid-cats-2.png", "grid-cats.html"])
def test_a_file_of_somebody_elses_is_no_sheet(write: Write, ebca: Ebca, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"mine")
    result = ebca("grid", write(JOB), "--out", out)
    assert result.exit_code == 2
    assert f"holds a file {name} that is no sheet of ours: move it away" in " ".join(result.output.split())
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_bytes() == b"mine"
