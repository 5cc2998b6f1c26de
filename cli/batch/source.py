"""Files of jobs, YAML or JSONL, read so that every value knows its file and line."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from lib_ebca.language.checks import shortened
from lib_ebca.reading import text_in
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.yaml12 import MERGE, TEXT, Loader, Spelt

Where = tuple[str | int, ...]
_LINES, _DOCUMENTS = (".jsonl", ".ndjson"), (".yaml", ".yml", ".json")
_OPTIONS_OF_A_FILE = ("include", "defaults")
_LARGEST, _LARGEST_YAML = 200_000_000, 4_000_000  # bytes
_MOST_VALUES = 300_000  # of a YAML file, each time an anchor is used
_DEEPEST = 20  # a value in a list in an axis in a matrix in a job in the list of jobs is at 6


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
    if file.suffix in _LINES:
        return _json_lines(file, text_of(file))
    return _document(file, text_of(file, _LARGEST_YAML))


def text_of(file: Path, largest: int = _LARGEST) -> str:
    """The file's text. Raises UserError where there is none, none in UTF-8, or too much."""
    try:
        return text_in(file, largest)
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        large = getattr(error, "errno", None) == errno.EFBIG and largest < _LARGEST
        other = ": write a job a line into a .jsonl file, which is read faster" if large else ""
        raise UserError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}{other}") from None


def _document(file: Path, text: str) -> Document:
    loader = None
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        lines: dict[Where, int] = {}
        if node is not None:
            _Walk(file, lines).over(node, (), ())
        value = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise JobsError(Place(file, line), f"this is not YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise UserError(f"{file} is nested too deep to be a file of jobs") from None
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not YAML: {str(error).splitlines()[0]}") from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(value, dict):
        raise JobsError(Place(file, 1), "a file of jobs is a mapping with the keys include, defaults and jobs")
    return Document(file, value, lines)


@dataclass
class _Walk:
    """Notes the line of every part, and refuses what YAML lets pass though nobody means it."""

    file: Path
    lines: dict[Where, int]
    values: int = 0

    def over(self, node: yaml.Node, where: Where, around: tuple[yaml.Node, ...]) -> None:
        """A part and all that is in it. Anchors count each time they are used. Raises JobsError."""
        place = Place(self.file, node.start_mark.line + 1)
        self.lines.setdefault(where, place.line)
        self.values += 1
        if self.values > _MOST_VALUES:
            raise JobsError(place, f"with its anchors the file comes to more than {_MOST_VALUES} values")
        if any(node is each for each in around):
            raise JobsError(place, "an anchor holds itself")
        if len(around) > _DEEPEST:
            raise JobsError(place, "this is nested too deep for a file of jobs")
        around = (*around, node)
        if isinstance(node, yaml.SequenceNode):
            for number, child in enumerate(node.value):
                self.over(child, (*where, number), around)
        elif isinstance(node, yaml.MappingNode):
            self._pairs(node, where, around)

    def _pairs(self, node: yaml.MappingNode, where: Where, around: tuple[yaml.Node, ...]) -> None:
        seen: set[str] = set()
        for key, child in node.value:
            place = Place(self.file, key.start_mark.line + 1)
            if key.tag == MERGE:
                self.over(child, (*where, "<<"), around)
                continue
            if key.tag != TEXT or not isinstance(key, yaml.ScalarNode):
                written = repr(key.value) if isinstance(key, yaml.ScalarNode) else "in brackets"
                raise JobsError(place, f"the key {shortened(written)} should be text: put it in quotes")
            below = (*where, key.value)
            if key.value in seen:
                raise JobsError(place, f"{shortened(key.value)!r} is given twice")
            seen.add(key.value)
            self.lines[below] = place.line
            self.over(child, below, around)


def _json_lines(file: Path, text: str) -> Document:
    """One job a line; a line may also be {"defaults": {...}} or {"include": [...]}."""
    value: dict[str, Any] = {"jobs": []}
    lines: dict[Where, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = Place(file, number)
        try:
            read = json.loads(line, object_pairs_hook=partial(_once, place), parse_float=Spelt)
        except json.JSONDecodeError as error:
            raise JobsError(place, f"this is not JSON: {error.msg} at character {error.colno}") from None
        except RecursionError:
            raise JobsError(place, "this is nested too deep for a job") from None
        except ValueError:
            raise JobsError(place, "this holds a number of too many digits") from None
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
