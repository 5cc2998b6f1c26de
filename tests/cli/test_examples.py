"""Every help page has an example, fits a narrow terminal, and its example works as it stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image, ImageDraw

from cli.examples import EXAMPLES
from cli.main import app
from tests.cli.conftest import Ebca

# What makes an example quick, put after it.
SHORTER = {
    "": "--steps 2",
    "txt2img": "--steps 2",
    "edit": "--steps 4",
    "img2img": "--steps 2",
    "inpaint": "--steps 2",
    "p2p": "--steps 2",
    "demo": "--steps 1",
    "bench": "--repeats 1 --size 8x8",
    "bench overhead": "--repeats 1 --size 8x8",
    "bench picture": "--repeats 1 --steps 1",
    "bench p2p": "--repeats 1 --size 8x8",
    "bench excite": "--repeats 1 --size 8x8 --picture-repeats 0",
    "bench alignment": "--limit 2 --steps 2",
    "bench editing": "--scenes 1 --steps 2",
    "bench inversions": "--scenes 1 --steps 2",
    "heads measure": "--steps 2",
    "heads weaken": "--count 1 --points 1 --randoms 1 --steps 1",
}


def _pages(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from _pages(below, (*path, name))


PAGES = tuple(_pages(typer.main.get_command(app)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ebca: Ebca) -> Path:
    """A folder with the files that the examples name, where they run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photograph = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(photograph).ellipse((16, 16, 40, 40), fill="red")
    for name in ("cat.jpg", "sketch.png", "sky.png"):
        photograph.save(name)
    mask = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(mask).rectangle((32, 32, 60, 60), fill=255)
    mask.save("mask.png")
    matrix = "matrix: {shape: [circle, star], cfg: [2, 3]}"
    Path("jobs.yaml").write_text(
        f"jobs:\n  - prompt: a red {{{{shape}}}}\n    steps: 1\n    seed: 1\n    {matrix}\n", encoding="utf-8"
    )
    Path("concepts.yaml").write_text("Shapes: [circle, square]\nColours: [red, blue]\n", encoding="utf-8")
    Path("prompts.txt").write_text("a red circle\na blue square\n", encoding="utf-8")
    return tmp_path


def _made_before(path: str, ebca: Ebca) -> None:
    """What an example reads that another command writes."""
    if path == "info":
        done = ebca("txt2img", "a red circle", "--steps", 1, "--out", "drawn")
        assert done.exit_code == 0, done.output
        next(Path("drawn").glob("*.png")).rename("picture.png")
    if path == NEEDS_WEIGHTS:
        done = ebca("txt2img", "a red circle", "--steps", 1, "--out", "pictures")
        assert done.exit_code == 0, done.output
    if path == "heads merge":
        for part, name in (("1/2", "a.json"), ("2/2", "b.json")):
            common = ("--concepts", "concepts.yaml", "--prompts", "prompts.txt", "--steps", 1)
            done = ebca("heads", "measure", *common, "--shard", part, "--out", name)
            assert done.exit_code == 0, done.output


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
def test_it_has_an_example_and_fits_into_forty_columns(
    page: tuple[str, ...], ebca: Ebca, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    done = ebca(*page, "--help")
    assert done.exit_code == 0, done.output
    example = EXAMPLES[" ".join(page)]
    assert done.output.endswith(f"\n  Example:\n    {example}\n")
    assert shlex.split(example)[1 : 1 + len(page)] == list(page) or page in ((), ("bench",), ("heads",))
    assert [line for line in done.output.splitlines() if len(line) > 40 and example not in line] == []


def test_no_example_is_of_a_command_that_is_gone() -> None:
    assert set(EXAMPLES) == {" ".join(page) for page in PAGES}


# The tests have no network, and here no CLIP either.
NEEDS_WEIGHTS = "bench similarity"
# The benchmarks' smallest measurements still take a while.
LONG = tuple(path for path in EXAMPLES if path.startswith("bench") or path == "heads weaken")


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=pytest.mark.slow if path in LONG else ()) for path in EXAMPLES]
)
def test_the_example_works(path: str, folder: Path, ebca: Ebca) -> None:
    _made_before(path, ebca)
    arguments = shlex.split(EXAMPLES[path])[1:] + shlex.split(SHORTER.get(path, ""))
    done = ebca(*arguments)
    if path == NEEDS_WEIGHTS:
        assert done.exit_code == 2 and "CLIP" in done.output, done.output
        return
    assert done.exit_code == 0, done.output
