"""`manifest.jsonl`: what became of every picture. Lines are only ever added: no kill can spoil those that are there."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import UnionType
from typing import Any

from lib_ebca.version import __version__

from .outcome import Failed, Made
from .store import Store, digest_of

NAME = "manifest.jsonl"
_SEGMENTS = "manifest/"
_READERS = 4

Line = dict[str, Any]

# What readers of a line count on.
_FIELDS: dict[str, dict[str, type | UnionType]] = {
    "run": {"digest": str},
    "picture": {
        **dict.fromkeys(("key", "label", "path", "sha256", "model", "model_hash"), str),
        **dict.fromkeys(("bytes", "evaluations"), int),
        "seconds": int | float,
    },
    "failed": {"key": str, "label": str},
}
_LARGEST = 1e15


@dataclass(frozen=True)
class History:
    """What a manifest says. `made` and `failed` are lines by the pictures' keys; of several the last one holds.

    `unread` are the numbers, from 1, of the lines that say nothing: torn by a kill, or changed since.
    """

    digest: str | None
    made: dict[str, Line]
    failed: dict[str, Line]
    unread: tuple[int, ...] = ()

    def intact(self, store: Store, sizes: Mapping[str, int] | None = None) -> dict[str, Line]:
        """The pictures that are still there as they were written: by size, and on this machine by content too."""
        sizes = store.sizes() if sizes is None else sizes
        there = {key: line for key, line in self.made.items() if sizes.get(line["path"]) == line["bytes"]}
        if store.local is None:
            return there

        def same(line: Line) -> bool:
            data = store.read(line["path"])
            return data is not None and digest_of(data) == line["sha256"]

        with ThreadPoolExecutor(_READERS) as readers:
            return {key: there[key] for key, good in zip(there, readers.map(same, there.values()), strict=True) if good}


class Manifest:
    """The manifest of a store, read once and then written on.

    A bucket has no appending: there each group of lines becomes a small object, and `close` makes one of all of them.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._segments = 0
        self._open = False

    def read(self) -> History:
        """What it says so far."""
        digest: str | None = None
        made: dict[str, Line] = {}
        failed: dict[str, Line] = {}
        unread = []
        for number, text in enumerate(self._text().split(b"\n"), start=1):
            line = _read(text)
            if line is None:
                unread += [number] if text.strip() else []
            elif line["kind"] == "run":
                digest = line["digest"]
            elif line["kind"] == "picture":
                made[line["key"]] = line
                failed.pop(line["key"], None)
            elif line["kind"] == "failed":
                failed[line["key"]] = line
                made.pop(line["key"], None)
        return History(digest, made, failed, tuple(unread))

    def begin(self, digest: str, pictures: int) -> None:
        """A run begins, for so many pictures."""
        self._append([{"kind": "run", "digest": digest, "pictures": pictures, "version": __version__}])

    def add(self, outcomes: Sequence[Made | Failed]) -> None:
        """Lines for pictures, on the disk when this returns."""
        self._append([outcome.to_line() for outcome in outcomes])

    def close(self) -> None:
        """Makes one file of a bucket's segments. A kill in between leaves lines twice, which reading does not mind."""
        if self._store.local is not None:
            return
        names = self._segment_names()
        self._store.write(NAME, self._text())
        for name in names:
            self._store.remove(name)

    def _append(self, lines: Sequence[Line]) -> None:
        if not lines:
            return
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        if self._store.local is None:
            self._segments += 1
            self._store.write(f"{_SEGMENTS}{self._segments:08d}-{secrets.token_hex(4)}.jsonl", data)
            return
        if not self._open:
            # A line that a kill tore gets its end here, and is passed over by every reader.
            before = self._store.read(NAME) or b""
            data = (b"\n" if before and not before.endswith(b"\n") else b"") + data
            self._open = True
        self._store.append(NAME, data)

    def _text(self) -> bytes:
        parts = [self._store.read(NAME) or b""]
        if self._store.local is None:
            parts += [self._store.read(name) or b"" for name in self._segment_names()]
        return b"".join(parts)

    def _segment_names(self) -> list[str]:
        return sorted(name for name in self._store.sizes() if name.startswith(_SEGMENTS))


def _read(text: bytes) -> Line | None:
    """The line, if it is a whole one; lines of kinds that a later version may bring have no fields that are known."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not isinstance(line.get("kind"), str):
        return None
    for field, kind in _FIELDS.get(line["kind"], {}).items():
        value = line.get(field)
        if not isinstance(value, kind) or (isinstance(value, int | float) and not 0 <= value < _LARGEST):
            return None
    return line if line["kind"] != "picture" or _inside(line["path"]) else None


def _inside(path: str) -> bool:
    """Whether a path stays below the folder, on every system."""
    return not any(part in ("", ".", "..") or set(part) & set("\\:\0") for part in path.split("/"))
