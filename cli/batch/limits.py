"""How much one file of jobs may ask for, counted before anything is multiplied out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .source import JobsError, Place

MOST = 10**5  # pictures of one run: read in half a minute
_MOST_FILES = 100  # each time one is included
_MOST_TEXT = 10**9  # characters of all jobs, written out


@dataclass
class Taken:
    """What the jobs that were read so far come to. Each method raises JobsError where that is too much."""

    pictures: int = 0
    files: int = 0
    characters: int = 0

    def file(self, place: Place) -> None:
        """One more file."""
        self.files += 1
        if self.files > _MOST_FILES:
            raise JobsError(place, f"more than {_MOST_FILES} files are included: a run has at most so many")

    def job(self, place: Place, cells: int, pictures: int, values: Iterable[Any]) -> None:
        """One more job, of so many cells and pictures; `values` are what is written in it."""
        self.pictures += pictures
        if self.pictures > MOST:
            raise JobsError(place, f"with this job the run has {self.pictures} pictures: it should have at most {MOST}")
        self.characters += cells * sum(map(_length, values))
        if self.characters > _MOST_TEXT:
            raise JobsError(place, f"with this job the run comes to more than {_MOST_TEXT} characters of text")


def axes_fit(place: Place, lengths: Iterable[int]) -> None:
    """Raises JobsError where axes of these lengths have more cells together than a run has pictures."""
    cells = 1
    for length in lengths:
        cells *= length
    if cells > MOST:
        raise JobsError(place, f"the matrix has {cells} cells: a run has at most {MOST}")


def _length(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str) else 1
