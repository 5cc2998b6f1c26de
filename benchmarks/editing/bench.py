"""The table of edits: success as the judge sees it, and how much of the rest was kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from benchmarks.editing.edits import KINDS, Outcome, outcome, pictures, scene_edits
from benchmarks.editing.methods import METHODS, Batch, Method, Sampling, prepared
from benchmarks.judge import read
from training.evaluate import Rate, rate

SCENES_SEED = 20_260_501
"""Of the scenes that the table is made of. Strengths are to be tried out on scenes of other seeds."""


@dataclass(frozen=True)
class Row:
    """One method on one kind of edit.

    Attributes:
        method: its name.
        kind: the kind of edit.
        success: share of edits that the judge sees done.
        kept: mean PSNR in dB outside the object's surroundings.
        evaluations: of the UNet for each picture, the inversion included.
    """

    method: str
    kind: str
    success: Rate
    kept: float
    evaluations: int


def bench(
    pipe: Any,
    sampling: Sampling,
    *,
    count: int = 64,
    kinds: Sequence[str] = KINDS,
    methods: Sequence[Method] = METHODS,
    seed: int = SCENES_SEED,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Every method on `count` scenes of every kind.

    Raises:
        EditingError: settings that cannot be.
    """
    pipe = prepared(pipe)
    starts = range(0, count, sampling.batch)
    rows, done = [], 0
    for number, kind in enumerate(kinds):
        edits = scene_edits(kind, count, seed + number)
        before = pictures(edits)
        outcomes: dict[str, list[Outcome]] = {method.name: [] for method in methods}
        evaluations: dict[str, list[int]] = {method.name: [] for method in methods}
        for part in (slice(first, first + sampling.batch) for first in starts):
            batch = Batch(pipe, sampling, edits[part], before[part])
            for method in methods:
                after, spent = batch.edited(method)
                judged = zip(edits[part], before[part], after, read(after), strict=True)
                outcomes[method.name] += [outcome(*each) for each in judged]
                evaluations[method.name].append(spent)
                done += 1
                advance(done, len(kinds) * len(starts) * len(methods))
        rows += [row(name, kind, found, round(fmean(evaluations[name]))) for name, found in outcomes.items()]
    return rows


def row(method: str, kind: str, outcomes: Sequence[Outcome], evaluations: int) -> Row:
    """The outcomes of one method on one kind, summed up."""
    hits = sum(each.success for each in outcomes)
    kept = round(fmean(each.kept for each in outcomes), 2)
    return Row(method, kind, rate(hits, len(outcomes)), kept, evaluations)


def to_dict(rows: Sequence[Row], sampling: Sampling, **about: Any) -> dict[str, Any]:
    """Plain JSON types."""
    return {**about, "sampling": asdict(sampling), "rows": [asdict(each) for each in rows]}


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Heading and lines: a line for each method, success and dB kept for each kind of edit, evaluations."""
    kinds = list(dict.fromkeys(each.kind for each in rows))
    lines = [["", *kinds, "evaluations"]]
    for name in dict.fromkeys(each.method for each in rows):
        own = {each.kind: each for each in rows if each.method == name}
        cells = [f"{own[kind].success}, {own[kind].kept:.1f} dB" for kind in kinds]
        lines.append([name, *cells, str(round(fmean(each.evaluations for each in own.values())))])
    return lines
