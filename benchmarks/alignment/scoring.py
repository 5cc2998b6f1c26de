"""What a scorer is, and the judge of the embedded model's world as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from world.shapes.judge import judge
from world.shapes.sightings import read

from .prompts import Item

Scores = dict[str, list[float]]


@dataclass(frozen=True)
class Metric:
    """One number for each picture. `better` is +1 if more is better, -1 if less is; `share` for yes-or-no answers.

    `percent`: it is written in percent, as yes-or-no answers always are.
    """

    name: str
    meaning: str
    better: int = 1
    share: bool = True
    percent: bool = False


class Scorer(Protocol):
    """Gives every picture a number for each of its metrics."""

    metrics: tuple[Metric, ...]

    def score(self, pictures: Tensor, batch: Sequence[Item]) -> Scores:
        """Scores of pictures (B, 3, H, W) in [0, 1], by the metric's name; B numbers each."""
        ...


class Judge:
    """The rule-based reader of shapes and colours, held against what each prompt asks for."""

    metrics: tuple[Metric, ...] = (
        Metric("binding", "every object is there as asked, in its own colour"),
        Metric("shapes", "every shape is there, in any colour"),
        Metric("colours", "every colour is somewhere"),
        Metric("exact", "all as asked, and nothing else"),
        Metric("crossed", "a shape wears another object's colour", better=-1),
        Metric("neglected", "at least one shape is missing", better=-1),
        Metric(
            "met", "the share of the objects that are there as asked, in their own colours", share=False, percent=True
        ),
    )

    def score(self, pictures: Tensor, batch: Sequence[Item]) -> Scores:
        asked = [item.prompt.shapes for item in batch]
        verdicts = [judge(reading, things) for reading, things in zip(read(pictures), asked, strict=True)]
        return {
            "binding": [float(v.binding) for v in verdicts],
            "shapes": [float(v.shapes) for v in verdicts],
            "colours": [float(v.colours) for v in verdicts],
            "exact": [float(v.exact) for v in verdicts],
            "crossed": [float(v.wrong_binding) for v in verdicts],
            "neglected": [float(bool(v.neglected)) for v in verdicts],
            "met": [v.met / len(things) for v, things in zip(verdicts, asked, strict=True)],
        }
