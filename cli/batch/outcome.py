"""What becomes of the pictures that were asked for: one line of the manifest for each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Made:
    """A picture that lies in the folder. `batch` were drawn together in `batch` times `seconds`."""

    key: str
    label: str
    path: str
    bytes: int
    sha256: str
    prompt: str
    seed: int
    axes: dict[str, str]
    model: str
    model_hash: str
    evaluations: int
    seconds: float
    batch: int
    comments: tuple[str, ...]
    worker: str

    def to_line(self) -> dict[str, Any]:
        """The line of the manifest."""
        return {"kind": "picture", **asdict(self)}


@dataclass(frozen=True)
class Failed:
    """A picture that could not be made: `error` is the sentence, `trace` where it came from if that is a defect."""

    key: str
    label: str
    place: str
    error: str
    trace: str | None
    worker: str

    def to_line(self) -> dict[str, Any]:
        """The line of the manifest."""
        return {"kind": "failed", **asdict(self)}


@dataclass(frozen=True)
class Note:
    """A sentence for the user."""

    text: str


Outcome = Made | Failed | Note
