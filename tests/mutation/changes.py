"""The small changes of a source that its tests should notice."""

from __future__ import annotations

import ast
import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.json")
"""Changes that nothing can notice, each with its reason; found again by file, text of the line, change and place in
the line."""

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
# Keywords that say how a thing is made, checked or kept, and not what comes out.
_OF_NO_ACCOUNT = frozenset({"strict", "frozen", "eq", "slots", "kw_only", "repr", "maxsize", "stacklevel"})


@dataclass(frozen=True)
class Unit:
    """A function or method as it stands in a file: its code can be exchanged while the program runs."""

    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Mutant:
    """One change: the `number`-th place of a file where something can be changed.

    `unit` is the outermost function around it; None: it is made while the module is loaded. `text` is its line, `nth`
    tells equal changes in equal lines of the file apart.
    """

    path: Path
    number: int
    line: int
    what: str
    text: str
    nth: int
    unit: Unit | None

    @property
    def module(self) -> str:
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts)

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What it is called in lists that outlast changes elsewhere in the file."""
        return self.path.relative_to(ROOT).as_posix(), self.text, self.what, self.nth

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line} {self.what} [{self.nth}]  {self.text}"


class Changed(ast.NodeTransformer):
    """Changes the place of a number, and lists all places on the way."""

    def __init__(self, chosen: int) -> None:
        self.chosen, self.places = chosen, list[tuple[int, str, Unit | None]]()
        self._unit: Unit | None = None

    def _here(self, node: Any, what: str) -> bool:
        self.places.append((node.lineno, what, self._unit))
        return len(self.places) - 1 == self.chosen

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        # Decorators and defaults are read where the function is made; annotations never.
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        node.args.defaults = [self.visit(default) for default in node.args.defaults]
        node.args.kw_defaults = [default and self.visit(default) for default in node.args.kw_defaults]
        outer = self._unit
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        self._unit = outer or Unit(node.name, first, node.end_lineno or node.lineno)
        node.body = [self.visit(statement) for statement in node.body]
        self._unit = outer
        return node

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
        nothing = node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
        if not nothing and self._here(node, "returns None"):
            node.value = ast.copy_location(ast.Constant(None), node.value or node)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool):
            if self._here(node, f"{node.value} -> {not node.value}"):
                return ast.copy_location(ast.Constant(not node.value), node)
        elif isinstance(node.value, int | float) and self._here(node, f"{node.value} -> {node.value + 1}"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        return node if node.arg in _OF_NO_ACCOUNT else self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node  # what a sentence says is for people to read

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return node  # for the checker of types

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node


def mutants(room: str) -> list[Mutant]:
    """All mutants of a room below lib_ebca but those known to change nothing."""
    known = {tuple(entry["change"]) for entry in equivalent()}
    found = [mutant for path in sorted((ROOT / "lib_ebca" / room).glob("*.py")) for mutant in mutants_of(path)]
    return [mutant for mutant in found if mutant.key not in known]


def mutants_of(path: Path) -> list[Mutant]:
    """All mutants of a file."""
    source = path.read_text(encoding="utf-8")
    walk = Changed(-1)
    walk.visit(ast.parse(source))
    lines, seen, found = source.splitlines(), Counter[tuple[str, str]](), []
    for number, (line, what, unit) in enumerate(walk.places):
        text = lines[line - 1].strip()
        found.append(Mutant(path, number, line, what, text, seen[text, what], unit))
        seen[text, what] += 1
    return found


@cache
def equivalent() -> list[dict[str, Any]]:
    """The committed list of changes that nothing can notice: `change` is a mutant's key, `reason` says why."""
    found: list[dict[str, Any]] = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return found


def mutated(mutant: Mutant) -> Any:
    """The code of the mutant's module."""
    tree = Changed(mutant.number).visit(ast.parse(mutant.path.read_text(encoding="utf-8")))
    return compile(ast.fix_missing_locations(tree), str(mutant.path), "exec")
