"""The import graph of the checkout, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOPS = ("lib_ebca", "cli", "world", "training", "benchmarks", "scripts")


def imports_of(source: str, package: str) -> Iterator[str]:
    """Every name that a source imports, anywhere in it, as `module.name` or `module`; `package` is where it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            # The names may be modules themselves: `from lib_ebca.attention import layer`.
            yield from (f"{base}.{alias.name}" for alias in node.names)


@cache
def modules() -> Mapping[str, Path]:
    """Every module of ours by its name."""
    found = {}
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


def module_of(imported: str) -> str | None:
    """The module of ours that an imported name is, or stands in; None if it is not ours."""
    while imported:
        if imported in modules():
            return imported
        imported = imported.rpartition(".")[0]
    return None


@cache
def graph() -> Mapping[str, frozenset[str]]:
    """For each module of ours the modules of ours that it imports."""
    edges = {}
    for name in modules():
        edges[name] = frozenset(ours for ours in map(module_of, imported(name)) if ours is not None and ours != name)
    return edges


@cache
def imported(name: str) -> frozenset[str]:
    """All that a module of ours imports, ours or not."""
    path = modules()[name]
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    return frozenset(imports_of(path.read_text(encoding="utf-8"), package))


def reached_from(start: str) -> frozenset[str]:
    """The modules of ours that are loaded, now or later, where `start` is: what it imports, and what that imports."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph()[name]
    return frozenset(seen)


def circle(edges: Mapping[str, frozenset[str]]) -> list[str] | None:
    """Names that import each other in a circle, if there are any."""
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str] | None:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return None
        for other in sorted(edges.get(name, frozenset())):
            found = visit(other, [*way, name])
            if found is not None:
                return found
        done.add(name)
        return None

    return next((found for name in sorted(edges) if (found := visit(name, [])) is not None), None)
