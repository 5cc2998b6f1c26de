"""Results on the disk: what was run, in one JSON file, and one JSON line for each batch that is done."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib_ebca.studio.pictures import write_over

RUN, LINES = "run.json", "results*.jsonl"
DIGITS = 5


class ResultsError(ValueError):
    """What lies in the folder does not belong to this run, or cannot be read; one sentence says what."""


@dataclass(frozen=True)
class Line:
    """One batch of one method. `part` and `batch` say which items; `scores` has one number for each of them."""

    method: str
    part: str
    batch: int
    scores: dict[str, list[float]]
    evaluations: int
    seconds: float

    @property
    def key(self) -> tuple[str, str, int]:
        """What is never run twice."""
        return self.method, self.part, self.batch


class Store:
    """The results in one folder.

    Args:
        folder: made if need be.
        run: everything that the results depend on, in JSON types.
        shard: name of this shard's file, such as "2of4"; empty for the only one.

    Raises:
        ResultsError: the folder holds the results of another run.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], shard: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        stated = json.loads(json.dumps(run))
        if (folder / RUN).exists():
            _refuse_other(folder, stated)
        else:
            write_json(folder / RUN, stated)
        self._path = folder / f"results{'-' + shard if shard else ''}.jsonl"
        self.done = {line.key for line in read_lines(folder)}

    def append(self, line: Line) -> None:
        """Write one line and make sure that it is on the disk."""
        text = json.dumps({**vars(line), "scores": {name: _packed(v) for name, v in line.scores.items()}})
        with self._path.open("a+b") as file:
            # A line that an interruption cut off must not swallow this one.
            if file.tell() and _last_byte(self._path) != b"\n":
                file.write(b"\n")
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.done.add(line.key)


def read_run(folder: Path) -> dict[str, Any]:
    """What was run. Raises ResultsError."""
    try:
        return dict(json.loads((folder / RUN).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{folder} holds no results: {RUN} cannot be read ({error})") from None


def read_lines(folder: Path) -> list[Line]:
    """The batches that are done, of all shards, each once; a line that was cut off is left out."""
    found: dict[tuple[str, str, int], Line] = {}
    for path in sorted(folder.glob(LINES)):
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                data = json.loads(text)
            except ValueError:
                continue
            line = Line(**{**data, "scores": {name: _unpacked(v) for name, v in data["scores"].items()}})
            found.setdefault(line.key, line)
    return list(found.values())


def write_json(path: Path, data: Any) -> None:
    """Write a file whole or not at all."""
    write_over(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def _refuse_other(folder: Path, stated: Mapping[str, Any]) -> None:
    found = read_run(folder)
    for name in (*stated, *found):
        if found.get(name) != stated.get(name):
            raise ResultsError(
                f"{folder} holds results of another run: its {name} differs. Give another --out, or the same settings"
            )


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _packed(values: list[float]) -> str | list[float]:
    """Yes-or-no answers as a string of digits, everything else rounded."""
    if all(value in (0, 1) for value in values):
        return "".join(str(int(value)) for value in values)
    return [round(value, DIGITS) for value in values]


def _unpacked(values: str | list[float]) -> list[float]:
    return [float(value) for value in values]
