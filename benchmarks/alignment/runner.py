"""Batches of pictures, one after the other: the important ones first, none twice, and stopped in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .drawing import Drawing
from .methods import Method
from .prompts import Item
from .results import Line, Store
from .scoring import Scorer

Work = TypeVar("Work")


@dataclass(frozen=True)
class Task:
    """One batch of one part by one method."""

    method: Method
    part: str
    batch: int

    @property
    def key(self) -> tuple[str, str, int]:
        """As in the results."""
        return self.method.name, self.part, self.batch


def tasks(methods: Sequence[Method], part: str, items: Sequence[Item], size: int) -> list[Task]:
    """Batch by batch within each method, in the methods' order."""
    return [Task(method, part, batch) for method in methods for batch in range(-(-len(items) // size))]


def shard_of(work: Sequence[Work], number: int, count: int) -> list[Work]:
    """Every `count`-th piece of work beginning with the `number`-th, counted from 1. Raises ValueError."""
    if not 1 <= number <= count:
        raise ValueError(f"shard {number}/{count} is none: it should be i/n with 1 <= i <= n")
    return list(work[number - 1 :: count])


def run(
    drawing: Drawing,
    scorers: Sequence[Scorer],
    todo: Sequence[Task],
    parts: Mapping[str, Sequence[Item]],
    store: Store,
    deadline: float | None = None,
    tell: Callable[[Task, Line], None] = lambda task, line: None,
) -> bool:
    """Do the tasks that are not done yet.

    Args:
        deadline: on the clock of `time.monotonic`; no task is begun that would, going by the last of its size, end
            after it.
        tell: called after each task.

    Returns:
        Whether all of them are done now.
    """
    lasted: dict[int, float] = {}
    for task in todo:
        if task.key in store.done:
            continue
        size = drawing.sampling.batch
        batch = parts[task.part][task.batch * size : (task.batch + 1) * size]
        begun = time.monotonic()
        if deadline is not None and begun + lasted.get(len(batch), 0.0) > deadline:
            return False
        line = _line(drawing, scorers, task, batch)
        store.append(line)
        lasted[len(batch)] = time.monotonic() - begun
        tell(task, line)
    return True


def _line(drawing: Drawing, scorers: Sequence[Scorer], task: Task, batch: Sequence[Item]) -> Line:
    drawn = drawing.draw(batch, task.method)
    scores: dict[str, list[float]] = {}
    for scorer in scorers:
        scores.update(scorer.score(drawn.pictures, batch))
    return Line(task.method.name, task.part, task.batch, scores, drawn.evaluations, round(drawn.seconds, 4))
