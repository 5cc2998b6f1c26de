"""A wheel brings `lib_ebca` and nothing else into site-packages, and works there without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from hatch_build import ROOMS, renamed
from tests.house.graph import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the installed wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    installed = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return installed


def run(site: Path, program: str, *arguments: str) -> str:
    """What a program prints that finds the wheel before anything else."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_brings_one_package(site: Path) -> None:
    brought = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert brought == {"lib_ebca", "bin"}
    assert {"cli", "world", "training", "benchmarks", "models", "studio"} <= {
        path.name for path in (site / "lib_ebca").iterdir()
    }
    embedded = {path.name for path in (ROOT / "models").iterdir() if (path / "model_index.json").exists()}
    assert embedded == {path.name for path in (site / "lib_ebca" / "models").iterdir()}
    assert not list(site.rglob("tests")) and not list(site.rglob("results")) and not list(site.rglob("begun"))


def test_the_command_runs_from_it(site: Path) -> None:
    assert "lib_ebca.cli.main" in (site / "bin" / "ebca").read_text(encoding="utf-8")
    program = (
        "import sys\nfrom lib_ebca.cli.main import app\n"
        "try:\n    app(sys.argv[1:])\nexcept SystemExit as ended:\n    assert not ended.code\n"
        f"assert not {ROOMS!r} or not set({ROOMS!r}) & {{name.split('.')[0] for name in sys.modules}}, sys.modules\n"
    )
    listed = run(site, program, "models")
    assert "shapes" in listed and "primer" in listed
    assert "overhead" in run(site, program, "bench", "--help")
    # The published vectors and the embedded model's own are in it.
    assert "head 4 (18.17)" in run(site, program, "heads", "show", "sd1")
    assert "34 heads" in run(site, program, "heads", "show", "shapes")


def test_every_module_of_it_is_found_without_the_checkout(site: Path) -> None:
    program = (
        "import importlib, pkgutil, sys\n"
        "import lib_ebca.world, lib_ebca.training, lib_ebca.benchmarks, lib_ebca.cli as cli\n"
        "for room in (lib_ebca.world, lib_ebca.training, lib_ebca.benchmarks, cli):\n"
        "    for found in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "        if not found.name.endswith('__main__'):\n            importlib.import_module(found.name)\n"
        f"assert not set({ROOMS!r}) & {{name.split('.')[0] for name in sys.modules}}\n"
        "print(lib_ebca.__file__)\n"
    )
    assert Path(run(site, program).strip()).is_relative_to(site)


def test_only_imports_from_other_rooms_are_renamed() -> None:
    source = (
        "from world.statistics import wilson\n    from training import loop\nfrom .cli import app\nfrom clip import x\n"
    )
    expected = (
        "from lib_ebca.world.statistics import wilson\n    from lib_ebca.training import loop\n"
        "from .cli import app\nfrom clip import x\n"
    )
    assert renamed(source) == expected


def test_an_editable_install_is_the_checkout(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["editable"])
    with zipfile.ZipFile(built) as wheel:
        names = wheel.namelist()
    assert not [name for name in names if name.startswith("lib_ebca/")]
