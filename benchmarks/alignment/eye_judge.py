"""The judge of the book world as a scorer: what its eye sees in a picture, held against what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from world.book.eye import EYE_FILE, Eye, load_eye
from world.book.judge import judge

from .prompts import Item
from .scoring import Metric, Scores


def eye_of(model: Path) -> Path | None:
    """The eye that was made with the model in that folder, if there is one."""
    path = model / "judge" / EYE_FILE
    return path if path.is_file() else None


class EyeJudge:
    """The eye made with a model of the book world. It has seen drawings and round trips, none of the model's pictures.

    Args:
        path: the eye's weights.
        device: where it looks.
    """

    metrics: tuple[Metric, ...] = (
        Metric("right", "every thing is there as asked, in the colour asked for"),
        Metric("nouns", "every thing is there, in any colour"),
        Metric("exact", "all as asked, and nothing else"),
        Metric("leaked", "a thing wears the colour of another thing that was asked for", better=-1),
        Metric("neglected", "at least one thing is missing", better=-1),
        Metric("met", "the share of the things that are there as asked", share=False, percent=True),
    )

    def __init__(self, path: Path, device: str = "cpu") -> None:
        self._device = device
        self._eye: Eye = load_eye(path).to(device)

    def score(self, pictures: Tensor, batch: Sequence[Item]) -> Scores:
        """As `Scorer` has it. Raises ValueError for a prompt whose things are not known."""
        asked = [item.prompt.things for item in batch]
        for item, things in zip(batch, asked, strict=True):
            if not things:
                raise ValueError(f"prompt {item.prompt.text!r}: what it asks for is not written down for the judge")
        seen = self._eye.read(pictures.float().to(self._device))
        verdicts = [judge(sightings, things) for sightings, things in zip(seen, asked, strict=True)]
        return {
            "right": [float(v.right) for v in verdicts],
            "nouns": [float(v.nouns) for v in verdicts],
            "exact": [float(v.exact) for v in verdicts],
            "leaked": [float(v.leaked) for v in verdicts],
            "neglected": [float(bool(v.neglected)) for v in verdicts],
            "met": [v.met / len(things) for v, things in zip(verdicts, asked, strict=True)],
        }
