"""Text files are opened with their encoding named: otherwise it is UTF-8 here, and cp1252 on Windows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.graph import ROOT

# Methods that open text, and the place of the encoding where it is given by position.
TEXT = {"read_text": 0, "write_text": 1, "open": 2, "TextIOWrapper": 1}
# What is called like them and opens no text: pictures, fonts, zips, file descriptors, studios.
OTHERS = {"Image", "Studio", "os", "zipfile", "webbrowser", "tarfile", "wave", "fitz"}


def unnamed(source: str) -> list[int]:
    """The lines of the source that open text without naming its encoding."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        of = node.func.value if isinstance(node.func, ast.Attribute) else None
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name not in TEXT or (isinstance(of, ast.Name) and of.id in OTHERS):
            continue
        builtin = of is None or (isinstance(of, ast.Name) and of.id in ("io", "codecs"))
        place = TEXT[name] + (1 if name == "open" and builtin else 0)
        mode = next(
            (key.value for key in node.keywords if key.arg == "mode"),
            node.args[1 if builtin else 0] if len(node.args) > (1 if builtin else 0) else None,
        )
        if name == "open" and isinstance(mode, ast.Constant) and "b" in str(mode.value):
            continue
        if name == "open" and isinstance(mode, ast.expr) and not isinstance(mode, ast.Constant):
            continue  # a picture's or an archive's own open, which takes a file
        if name == "open" and mode is None and not builtin and not node.keywords and node.args:
            continue
        if len(node.args) <= place and not any(key.arg in ("encoding", None) for key in node.keywords):
            found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("path.read_text()", False),
        ("path.read_text('utf-8')", True),
        ("path.read_text(encoding='utf-8')", True),
        ("path.write_text('a')", False),
        ("path.write_text('a', encoding='utf-8', newline='')", True),
        ("path.open('a')", False),
        ("path.open()", False),
        ("path.open('ab')", True),
        ("path.open(mode='w')", False),
        ("open('a')", False),
        ("open('a', 'w')", False),
        ("open('a', 'rb')", True),
        ("open('a', encoding='utf-8')", True),
        ("Image.open(path)", True),
    ],
)
def test_what_counts_as_named(source: str, named: bool) -> None:
    assert unnamed(source) == ([] if named else [1])


def sources() -> list[Path]:
    own = ("lib_ebca", "cli", "world", "training", "benchmarks", "website", "scripts")
    return [*ROOT.glob("*.py"), *(path for room in own for path in (ROOT / room).rglob("*.py"))]


def test_every_text_file_is_opened_with_its_encoding() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}" for path in sources() for line in unnamed(path.read_text(encoding="utf-8"))
    ]
    assert not found
