"""The core imports torch alone, and imports go one way: energy, plan → cascade, layer → hosts → webui | cli."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKED = ("gradio", "modules", "ldm", "sgm", "diffusers", "transformers", "numpy", "yaml", "PIL")
CORE = sorted(f"lib_ebca.{path.stem}" for path in (ROOT / "lib_ebca").glob("*.py") if path.stem != "__init__")
HOSTS_WITHOUT_A_HOST = ["lib_ebca.hosts.patch", "lib_ebca.hosts.prompts"]

STAGES = {
    "lib_ebca.attention.cascade": 1,
    "lib_ebca.attention.layer": 1,
    "lib_ebca.methods": 1,
    "lib_ebca.hosts": 2,
    "lib_ebca.webui": 3,
    "lib_ebca": 0,
    "cli": 3,
    "scripts": 4,
    "install": 4,
    "benchmarks": 4,
    "training": 4,
    "tests": 4,
}
"""How far along the way a module is; the longest name that fits counts. What is at 4 nobody here may import."""


def test_there_is_a_core() -> None:
    assert {"energy", "schedule", "plan", "directives", "words", "emphasis", "adjoint"} <= {n[9:] for n in CORE}
    assert {"picture", "moment", "cascade", "layer", "record"} <= {n[9:] for n in CORE}


def test_the_core_imports_with_nothing_but_torch() -> None:
    program = (
        f"import sys\nfor name in {BLOCKED}: sys.modules[name] = None\n"
        f"import importlib\nfor name in {CORE + HOSTS_WITHOUT_A_HOST}: importlib.import_module(name)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("module", ["plan", "schedule", "directives", "emphasis"])
def test_plans_import_without_torch(module: str) -> None:
    program = f"import sys\nsys.modules['torch'] = None\nimport lib_ebca.{module}"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def stage(module: str) -> int | None:
    """How far along the way a module is; None if it is not ours."""
    while module:
        if module in STAGES:
            return STAGES[module]
        module = module.rpartition(".")[0]
    return None


def imports_of(source: str, package: str) -> Iterator[str]:
    """Every module that a source imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            # The names may be modules themselves: `from lib_ebca import layer`.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def modules() -> list[tuple[str, Path]]:
    """Every module that is on the way, by its name."""
    found = []
    for folder in ("lib_ebca", "cli", "scripts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append((".".join(part for part in parts if part != "__init__"), path))
    return found


@pytest.mark.parametrize(("name", "path"), modules(), ids=[name for name, _ in modules()])
def test_imports_go_one_way(name: str, path: Path) -> None:
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    mine = stage(name)
    assert mine is not None
    for imported in imports_of(path.read_text(encoding="utf-8"), package):
        theirs = stage(imported)
        if theirs is None:
            continue
        assert theirs <= mine or (mine == 3 and imported.startswith("benchmarks")), f"{name} imports {imported}"
        if mine == 3 and theirs == 3:
            assert imported.split(".")[0] == name.split(".")[0], (
                f"{name} imports {imported}: webui and cli are strangers"
            )


def test_the_guard_sees_every_form_of_import() -> None:
    source = (
        "import cli.main\ndef f():\n    from lib_ebca import layer\n    from . import unet\n    from ..hosts import x\n"
    )
    found = list(imports_of(source, "lib_ebca.hosts"))
    assert found == ["cli.main", "lib_ebca.attention.layer", "lib_ebca.hosts.unet", "lib_ebca.hosts.x"]
    assert [stage(name) for name in found] == [3, 1, 2, 2]
    assert stage("lib_ebca.Plan") == stage("lib_ebca.attention.energy") == 0
    assert stage("torch.nn") is None
