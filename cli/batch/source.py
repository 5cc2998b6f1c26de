"""Files of jobs, YAML or JSONL, read so that every value knows its file and line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lib_ebca.studio.errors import UserError

Where = tuple[str | int, ...]
_TEXT, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_LINES, _DOCUMENTS = (".jsonl", ".ndjson"), (".yaml", ".yml", ".json")
_OPTIONS_OF_A_FILE = ("include", "defaults")


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Sourced:
    """A value and where it was written."""

    value: Any
    place: Place


@dataclass(frozen=True)
class Document:
    """What a file says. `lines` are those of its parts, by their way down from the top."""

    file: Path
    value: dict[str, Any]
    lines: Mapping[Where, int]

    def place(self, where: Where) -> Place:
        """The line of a part, or of the nearest thing around it that has one."""
        while where and where not in self.lines:
            where = where[:-1]
        return Place(self.file, self.lines.get(where, 1))


class JobsError(UserError):
    """What is wrong with a file of jobs: a sentence, headed by file and line."""

    def __init__(self, place: Place, sentence: str) -> None:
        super().__init__(f"{place}: {sentence}")


def read(file: Path) -> Document:
    """The file's mapping with the keys include, defaults and jobs. Raises UserError."""
    if file.suffix not in (*_LINES, *_DOCUMENTS):
        raise UserError(f"the file of jobs {file} should end in {', '.join((*_DOCUMENTS, *_LINES))}")
    text = text_of(file)
    return _json_lines(file, text) if file.suffix in _LINES else _document(file, text)


def text_of(file: Path) -> str:
    """The file's text. Raises UserError where there is none, or none in UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None


class _Loader(yaml.SafeLoader):
    """YAML 1.1, in which 1e-4 is a number as it is everywhere else."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    # PyYAML's own pattern wants a point in the digits and a sign in the exponent.
    re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+"),
    list("-+0123456789."),
)


def _document(file: Path, text: str) -> Document:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Where, int] = {}
        if node is not None:
            _walk(file, node, (), lines, ())
        value = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise JobsError(Place(file, line), f"this is not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is not YAML: {str(error).splitlines()[0]}") from None
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise JobsError(Place(file, 1), "a file of jobs is a mapping with the keys include, defaults and jobs")
    return Document(file, value, lines)


def _walk(file: Path, node: yaml.Node, where: Where, lines: dict[Where, int], around: tuple[yaml.Node, ...]) -> None:
    """Notes the line of every part, and refuses what YAML lets pass though nobody means it."""
    line = node.start_mark.line + 1
    lines.setdefault(where, line)
    if any(node is each for each in around):
        raise JobsError(Place(file, line), "an anchor holds itself")
    around = (*around, node)
    if isinstance(node, yaml.SequenceNode):
        for number, child in enumerate(node.value):
            _walk(file, child, (*where, number), lines, around)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, child in node.value:
            place = Place(file, key.start_mark.line + 1)
            if key.tag == _MERGE:
                continue
            if key.tag != _TEXT:
                raise JobsError(place, f"the key {key.value!r} should be text: put it in quotes")
            below = (*where, key.value)
            if key.value in seen:
                raise JobsError(place, f"{key.value!r} is given twice")
            seen.add(key.value)
            lines[below] = place.line
            _walk(file, child, below, lines, around)


def _json_lines(file: Path, text: str) -> Document:
    """One job a line; a line may also be {"defaults": {...}} or {"include": [...]}."""
    value: dict[str, Any] = {"jobs": []}
    lines: dict[Where, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = Place(file, number)
        try:
            read = json.loads(line, object_pairs_hook=partial(_once, place))
        except json.JSONDecodeError as error:
            raise JobsError(place, f"this is not JSON: {error.msg} at character {error.colno}") from None
        if not isinstance(read, dict):
            raise JobsError(place, 'each line should be a job in braces, such as {"prompt": "a cat"}')
        option = next((name for name in _OPTIONS_OF_A_FILE if name in read), None)
        if option is None:
            lines["jobs", len(value["jobs"])] = number
            value["jobs"].append(read)
            continue
        if len(read) > 1 or option in value:
            raise JobsError(place, f"{option!r} stands in a line of its own, and once")
        value[option] = read[option]
        lines[option,] = number
    return Document(file, value, lines)


def _once(place: Place, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise JobsError(place, f"{twice!r} is given twice")
    return value
