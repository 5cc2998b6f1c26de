"""Which names of torch the core and the WebUI's parts use, and whether the torch that is installed has them.

    python -m tests.house.torch_names     # with the oldest torch: writes torch_names.txt, or says what is missing

Needs nothing but torch. Methods of tensors and arguments are not looked at: only running the tests shows those.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the WebUI loads: everything of the package but the studio, and what only diffusers needs.
ROOMS = ("language", "methods", "attention", "photo", "hosts", "webui")
SEEN = Path(__file__).with_name("torch_names.txt")


def names_in(source: str) -> Iterator[str]:
    """Every dotted name below torch that the source imports or reads, such as `torch.nn.functional.pad`."""
    tree = ast.parse(source)
    known = {"torch": "torch"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "torch":
                    known[alias.asname or "torch"] = alias.name if alias.asname else "torch"
                    yield alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "torch":
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)) and dotted.split(".")[0] in known:
            first, _, rest = dotted.partition(".")
            yield f"{known[first]}.{rest}"


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute of an attribute of a name; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def used(rooms: tuple[str, ...] = ROOMS) -> set[str]:
    """The names of torch in the sources of the rooms."""
    paths = (path for room in rooms for path in (ROOT / "lib_ebca" / room).rglob("*.py"))
    return {name for path in paths for name in names_in(path.read_text(encoding="utf-8"))}


def exists(name: str) -> bool:
    """Whether the installed torch has the name."""
    parts = name.split(".")
    found: object = importlib.import_module(parts[0])
    for at, part in enumerate(parts[1:], 1):
        if not hasattr(found, part):
            try:
                importlib.import_module(".".join(parts[: at + 1]))
            except ImportError:
                return False
        found = getattr(found, part)
    return True


def main() -> int:
    """Write down the names that are used and are there; 1 if some are not there."""
    names = sorted(used())
    missing = [name for name in names if not exists(name)]
    for name in missing:
        print(f"torch {importlib.import_module('torch').__version__} has no {name}", file=sys.stderr)
    if not missing:
        SEEN.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
