"""Imports go one way through the rooms, no two files import each other, and the WebUI loads nothing that it lacks."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict

import pytest

from tests.house.graph import ROOT, circle, graph, imported, imports_of, module_of, modules, reached_from

MAY_IMPORT = {
    "lib_ebca.version": "",
    "lib_ebca.reading": "",
    "lib_ebca.language": "",
    "lib_ebca.methods": "reading",
    "lib_ebca.attention": "language methods",
    "lib_ebca.photo": "language attention methods",
    "lib_ebca.hosts": "language attention methods photo",
    "lib_ebca.studio": "language attention methods photo hosts version reading",
    "lib_ebca.webui": "language attention methods photo hosts version",
    # The package itself: the names that the README promises.
    "lib_ebca": "language version",
    "scripts": "webui",
    "world": "",
    "training": "world language attention methods photo hosts studio version",
    "benchmarks": "world language attention methods photo hosts studio version reading",
    "cli": "world language attention methods photo hosts studio version reading benchmarks training",
}
"""For each room the rooms that it may import, besides itself."""

NEEDS_TORCH_ALONE = ("lib_ebca.language", "lib_ebca.attention", "lib_ebca.methods")
WEBUI_LACKS = ("diffusers", "transformers", "typer", "pydantic", "rich", "peft", "accelerate")
"""transformers is there, but of another version than the command line's: nothing of ours may touch it."""


def room_of(module: str) -> str:
    """The room that a module stands in."""
    return max((room for room in MAY_IMPORT if module == room or module.startswith(f"{room}.")), key=len)


def allowed(module: str, other: str) -> bool:
    """Whether one module of ours may import another."""
    mine, theirs = room_of(module), room_of(other)
    return mine == theirs or theirs.removeprefix("lib_ebca.") in MAY_IMPORT[mine].split()


def test_every_file_stands_in_a_room() -> None:
    assert {room_of(name) for name in modules()} >= {
        "lib_ebca.language",
        "lib_ebca.attention",
        "lib_ebca.studio",
        "cli",
    }


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_one_way(module: str) -> None:
    for other in graph()[module]:
        assert allowed(module, other), f"{module} imports {other}: {room_of(module)} may not import {room_of(other)}"


def test_no_files_import_each_other() -> None:
    assert circle(graph()) is None


def test_no_rooms_import_each_other() -> None:
    edges: defaultdict[str, set[str]] = defaultdict(set)
    for module, others in graph().items():
        edges[room_of(module)] |= {room_of(other) for other in others} - {room_of(module)}
    assert circle({room: frozenset(others) for room, others in edges.items()}) is None


def test_what_the_webui_loads_needs_nothing_that_it_lacks() -> None:
    for module in reached_from("scripts.ebca"):
        lacking = {name for name in imported(module) if name.split(".")[0] in WEBUI_LACKS}
        assert not lacking, f"{module} imports {', '.join(sorted(lacking))}, which the WebUI lacks"


@pytest.mark.parametrize("room", NEEDS_TORCH_ALONE)
def test_the_core_needs_torch_and_nothing_else(room: str) -> None:
    for module in filter(lambda name: room_of(name) == room, modules()):
        outside = {name.split(".")[0] for name in imported(module) if module_of(name) is None}
        foreign = outside - set(sys.stdlib_module_names) - {"torch"}
        assert not foreign, f"{module} imports {', '.join(sorted(foreign))}"


@pytest.mark.parametrize("module", ["plan", "schedule", "directives", "emphasis", "presets"])
def test_plans_are_made_without_torch(module: str) -> None:
    program = f"import sys\nsys.modules['torch'] = None\nimport lib_ebca.language.{module}"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_guard_sees_every_form_of_import() -> None:
    source = (
        "import cli.main\ndef f():\n    from lib_ebca.attention import layer\n    from . import unet\n"
        "    from ..studio import task\n    from .patch import replaced\n"
    )
    found = [module_of(name) for name in imports_of(source, "lib_ebca.hosts")]
    assert found == [
        "cli.main",
        "lib_ebca.attention.layer",
        "lib_ebca.hosts.unet",
        "lib_ebca.studio.task",
        "lib_ebca.hosts.patch",
    ]
    assert module_of("torch.nn") is None and module_of("lib_ebca.Plan") == "lib_ebca"


def test_the_guard_refuses_an_arrow_turned_round() -> None:
    assert allowed("lib_ebca.hosts.diffusers", "lib_ebca.attention.layer")
    assert not allowed("lib_ebca.attention.layer", "lib_ebca.hosts.diffusers")
    assert not allowed("benchmarks.batches", "cli.main")
    assert circle({"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"b"})}) == ["b", "c", "b"]


def test_inside_a_room_imports_are_relative_where_a_wheel_renames_it() -> None:
    from hatch_build import ROOMS

    for module, path in modules().items():
        top = module.split(".")[0]
        if top in ROOMS:
            text = path.read_text(encoding="utf-8")
            assert f"from {top}." not in text and f"import {top}." not in text, f"{path}: from .x import y"
            assert not any(f"import {other}\n" in text for other in ROOMS), f"{path}: from {{room}} import name"
