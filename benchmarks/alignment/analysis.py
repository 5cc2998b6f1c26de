"""From results to figures: each method on each set, against the plain model, with what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from world.statistics import Comparison, Estimate, compare, mean, rate

from .methods import PLAIN
from .prompts import Item
from .results import Line
from .scoring import Metric


@dataclass(frozen=True)
class Figure:
    """One method on one set by one metric; `against` is the comparison with the plain model where both were run."""

    method: str
    group: str
    metric: str
    value: Estimate
    against: Comparison | None


@dataclass(frozen=True)
class Cost:
    """UNet evaluations and seconds for each picture, and the time against the plain model's in the same run."""

    evaluations: float
    seconds: float
    ratio: float | None


Outcomes = dict[str, dict[int, dict[str, float]]]


def outcomes(lines: Sequence[Line], part: str, items: Sequence[Item], batch: int) -> Outcomes:
    """Scores by method, number of the item and metric."""
    found: Outcomes = {}
    for line in lines:
        if line.part != part:
            continue
        of_method = found.setdefault(line.method, {})
        count = len(items[line.batch * batch : (line.batch + 1) * batch])
        for name, values in line.scores.items():
            if len(values) != count:
                raise ValueError(f"{line.method!r}, {part}, batch {line.batch}: {len(values)} scores for {count} items")
            for offset, value in enumerate(values):
                of_method.setdefault(line.batch * batch + offset, {})[name] = value
    return found


def figures(found: Outcomes, items: Sequence[Item], metrics: Sequence[Metric], methods: Sequence[str]) -> list[Figure]:
    """A figure for each method, set and metric that was run. Differences are taken over the items that both have."""
    result = []
    for method in methods:
        for group in dict.fromkeys(item.group for item in items):
            for metric in metrics:
                figure = _figure(found, items, metric, method, group)
                if figure is not None:
                    result.append(figure)
    return result


def _figure(found: Outcomes, items: Sequence[Item], metric: Metric, method: str, group: str) -> Figure | None:
    ours = {
        number: scores[metric.name]
        for number, scores in found.get(method, {}).items()
        if items[number].group == group and metric.name in scores
    }
    if not ours:
        return None
    prompts = [items[number].prompt.text for number in ours]
    value = (rate if metric.share else mean)(list(ours.values()), prompts)
    theirs = found.get(PLAIN, {})
    shared = [number for number in ours if number in theirs and metric.name in theirs[number]]
    against = None
    if method != PLAIN and shared:
        against = compare(
            [ours[number] for number in shared],
            [theirs[number][metric.name] for number in shared],
            [items[number].prompt.text for number in shared],
            metric.share,
        )
    return Figure(method, group, metric.name, value, against)


def costs(lines: Sequence[Line], sizes: Mapping[tuple[str, int], int]) -> dict[str, Cost]:
    """What each method costs for each picture; the ratio is taken over the batches that the plain model did too.

    Args:
        sizes: number of pictures of each (part, batch).
    """
    plain = {(line.part, line.batch): line.seconds for line in lines if line.method == PLAIN}
    result = {}
    for method in dict.fromkeys(line.method for line in lines):
        own = [line for line in lines if line.method == method]
        pictures = sum(sizes[line.part, line.batch] for line in own)
        shared = [line for line in own if (line.part, line.batch) in plain]
        theirs = sum(plain[line.part, line.batch] for line in shared)
        ratio = sum(line.seconds for line in shared) / theirs if theirs else None
        # A batch is evaluated as one, so every picture of it has had that many evaluations.
        evaluations = sum(line.evaluations * sizes[line.part, line.batch] for line in own) / pictures
        result[method] = Cost(evaluations, sum(line.seconds for line in own) / pictures, ratio)
    return result
