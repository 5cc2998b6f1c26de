"""Which changes of the code do its tests notice? `python -m tests.mutation language` (outside of CI; needs os.fork).

Each mutant is one small change: a comparison, a sum, a number, a condition or a returned value is another one. It is
killed if a test of the same room fails under it, or takes too long. Survivors are printed, to be read one by one: some
change nothing that can be seen, each of the others lacks a test.
"""

from __future__ import annotations

import argparse
import ast
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world.statistics import wilson

ROOT = Path(__file__).parents[1]
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_PATIENCE = 10  # times as long as the tests take without a change


@dataclass(frozen=True)
class Mutant:
    """One change: the `number`-th place of a module where something can be changed."""

    module: str
    path: Path
    number: int
    line: int
    what: str


class _Changed(ast.NodeTransformer):
    """Changes the place of a number, and lists all places on the way."""

    def __init__(self, chosen: int) -> None:
        self.chosen, self.places = chosen, list[tuple[int, str]]()

    def _here(self, node: Any, what: str) -> bool:
        self.places.append((node.lineno, what))
        return len(self.places) - 1 == self.chosen

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        for i, operator in enumerate(node.ops):
            if self._here(node, f"{type(operator).__name__} -> {_SWAPS[type(operator)].__name__}"):
                node.ops[i] = _SWAPS[type(operator)]()  # type: ignore[call-overload]  # one table for operators of several kinds
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        other = _SWAPS.get(type(node.op))
        if other is not None and self._here(node, f"{type(node.op).__name__} -> {other.__name__}"):
            node.op = other()  # type: ignore[assignment]  # one table for operators of several kinds
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if self._here(node, f"{type(node.op).__name__} -> {_SWAPS[type(node.op)].__name__}"):
            node.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]  # one table for operators of several kinds
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and self._here(node, "not dropped"):
            return node.operand
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        if self._here(node, "branches swapped"):
            node.body, node.orelse = node.orelse, node.body
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is not None and self._here(node, "returns None"):
            node.value = ast.copy_location(ast.Constant(None), node.value)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool):
            if self._here(node, f"{node.value} -> {not node.value}"):
                return ast.copy_location(ast.Constant(not node.value), node)
        elif isinstance(node.value, int | float) and self._here(node, f"{node.value} -> {node.value + 1}"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node  # what a sentence says is for people to read

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node


def mutants(room: str) -> list[Mutant]:
    """All mutants of a room below lib_ebca."""
    found = []
    for path in sorted((ROOT / "lib_ebca" / room).glob("*.py")):
        walk = _Changed(-1)
        walk.visit(ast.parse(path.read_text(encoding="utf-8")))
        module = f"lib_ebca.{room}.{path.stem}"
        found += [Mutant(module, path, i, line, what) for i, (line, what) in enumerate(walk.places)]
    return found


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module as its mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        return importlib.util.spec_from_loader(name, self) if name == self._mutant.module else None

    def exec_module(self, module: Any) -> None:
        tree = _Changed(self._mutant.number).visit(ast.parse(self._mutant.path.read_text(encoding="utf-8")))
        exec(compile(ast.fix_missing_locations(tree), str(self._mutant.path), "exec"), module.__dict__)


def killed(mutant: Mutant | None, tests: Sequence[Path], seconds: int = 0) -> bool:
    """Whether the tests fail under a mutant (None: the code as it is) within so many seconds (0: however many)."""
    child = os.fork()
    if child == 0:
        signal.alarm(seconds)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        if mutant is not None:
            sys.meta_path.insert(0, _Finder(mutant))
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
        os._exit(int(pytest.main([*options, *map(str, tests)]) != 0))
    return os.waitpid(child, 0)[1] != 0


def _ordered(mutant: Mutant, tests: Sequence[Path]) -> list[Path]:
    """The tests of the module's own name first: most mutants die there, and the others need not be collected."""
    return sorted(tests, key=lambda path: path.stem != f"test_{mutant.path.stem}")


def main() -> None:
    """Prints the survivors of a room, or of a sample, and the share that was killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("room")
    parser.add_argument("--sample", type=int, help="So many mutants, drawn by chance.  (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    tests = sorted((ROOT / "tests" / asked.room).glob("test_*.py"))
    # What takes long to import is shared by all children; nothing of ours may be among it.
    import hypothesis
    import pytest
    import torch
    import transformers

    assert all((hypothesis, pytest, torch, transformers)) and not any(
        name.startswith("lib_ebca") for name in sys.modules
    )
    every = mutants(asked.room)
    chosen = random.Random(asked.seed).sample(every, min(asked.sample or len(every), len(every)))
    started, survivors = time.monotonic(), 0
    if killed(None, tests):
        raise SystemExit("the tests fail as it is: nothing can be said")
    limit = int(_PATIENCE * (time.monotonic() - started)) + 1
    for mutant in chosen:
        ordered = _ordered(mutant, tests)
        if not any(killed(mutant, some, limit) for some in (ordered[:1], ordered[1:]) if some):
            survivors += 1
            print(f"survives: {mutant.path.relative_to(ROOT)}:{mutant.line} {mutant.what}", flush=True)
    dead = len(chosen) - survivors
    share = wilson(dead, len(chosen))
    print(
        f"{len(chosen)} of {len(every)} mutants of {asked.room} (seed {asked.seed}), {share.value:.1%} killed "
        f"(95 % interval {share.low:.1%} to {share.high:.1%}), {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
