"""The study on the embedded model: sweep on the tuning half, choose by the rule, report on the other half."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import sweep
from .analysis import figures, outcomes
from .drawing import Drawing
from .methods import PLAIN, Method, plain
from .prompts import COLOURED, HALVES, HELD_OUT, ONE, THREE, TWO, Item, items, shapes_prompts
from .results import Line, Store, read_lines, write_json
from .runner import Task, run, tasks
from .scoring import Judge
from .sheet import COLUMNS, draw_sheet, largest

CHOSEN = "chosen.json"
FIRST_CHOSEN = 4
MAIN = (THREE, "met")
"""The set and the metric by which configurations are chosen."""
TUNING, REPORTING = HALVES
# The halves share no seed either.
FIRST_SEED = {TUNING: 0, REPORTING: 10_000}


@dataclass(frozen=True)
class Counts:
    """Pictures of each set in one half."""

    coloured: int
    held_out: int
    two: int
    one: int
    three: int = 0

    def items(self, half: str) -> list[Item]:
        """The pictures of a half, the main set first."""
        asked = (
            (THREE, self.three),
            (COLOURED, self.coloured),
            (HELD_OUT, self.held_out),
            (TWO, self.two),
            (ONE, self.one),
        )
        return [
            item
            for group, count in asked
            if count
            for item in items(group, shapes_prompts(group, half), count, FIRST_SEED[half])
        ]


@dataclass(frozen=True)
class Size:
    """How large a study is."""

    tuning: Counts
    reporting: Counts


@dataclass(frozen=True)
class Scope:
    """A study: how large it is, and which configurations it asks about, given the model's layers' pixels."""

    size: Size
    methods: Callable[[Sequence[int]], list[Method]]


SCOPES = {
    "full": Scope(Size(Counts(256, 0, 256, 256, three=512), Counts(512, 512, 512, 512, three=1024)), sweep.sweep),
    "brief": Scope(Size(Counts(0, 0, 0, 32, three=96), Counts(64, 0, 0, 64, three=512)), sweep.brief),
    "tiny": Scope(Size(Counts(2, 0, 2, 2, three=2), Counts(2, 2, 2, 2, three=2)), sweep.sweep),
}


@dataclass(frozen=True)
class Limits:
    """When to stop, on the clock of `time.monotonic`; None is never."""

    tuning: float | None = None
    reporting: float | None = None

    @classmethod
    def minutes(cls, total: float | None, tuning_share: float = 0.6) -> Limits:
        """`total` minutes from now, of which the sweep may take a share and the report whatever is left."""
        now = time.monotonic()
        return cls() if total is None else cls(now + 60 * total * tuning_share, now + 60 * total)


def parts(size: Size) -> dict[str, list[Item]]:
    """The items of both halves."""
    return {TUNING: size.tuning.items(TUNING), REPORTING: size.reporting.items(REPORTING)}


def study(
    drawing: Drawing,
    folder: Path,
    scope: Scope,
    described: dict[str, Any],
    limits: Limits,
    tell: Callable[[str], None] = print,
) -> list[Method]:
    """Run it, or go on with it.

    Args:
        described: what else the results depend on (model, versions, device), kept beside them.

    Returns:
        The methods that were meant for the reporting half, in the order in which they are run.
    """
    size = scope.size
    everything = parts(size)
    store = Store(folder, {**described, "sampling": asdict(drawing.sampling), "size": asdict(size)})
    methods = scope.methods(_pixels(drawing))

    def work(which: Sequence[Method], part: str, deadline: float | None) -> bool:
        todo = tasks(which, part, everything[part], drawing.sampling.batch)
        return run(drawing, [Judge()], todo, everything, store, deadline, lambda task, line: tell(_said(task, line)))

    # The device's first evaluation is slow; it must not be the one that everything is timed against.
    drawing.draw(everything[TUNING][: drawing.sampling.batch], plain())
    complete = work(methods, TUNING, limits.tuning)
    tell(f"sweep {'complete' if complete else 'stopped at its time limit'}")
    reported = to_report(folder, size, drawing.sampling.batch, methods)
    if not (folder / CHOSEN).exists():
        write_json(folder / CHOSEN, [method.name for method in reported])
    complete = work(reported, REPORTING, limits.reporting)
    tell(f"report {'complete' if complete else 'stopped at its time limit'}")
    rest = [method for method in methods if method not in reported]
    if complete and limits.reporting is not None:
        work(rest, TUNING, limits.reporting)
        work(rest, REPORTING, limits.reporting)
    return reported


def to_report(folder: Path, size: Size, batch: int, methods: Sequence[Method]) -> list[Method]:
    """The fixed methods, and those that the rule chooses from the tuning results in `folder`.

    Once made the choice stands, whatever else is run on the tuning half later.
    """
    asked = size.tuning.items(TUNING)
    found = outcomes(read_lines(folder), TUNING, asked, batch)
    if (folder / CHOSEN).exists():
        names = json.loads((folder / CHOSEN).read_text(encoding="utf-8"))
        return [method for name in names for method in methods if method.name == name]
    full = {name: scores for name, scores in found.items() if len(scores) == len(asked)}
    figure = {(f.method, f.group, f.metric): f for f in figures(full, asked, Judge.metrics, [m.name for m in methods])}

    def difference(method: str, group: str, metric: str) -> float:
        comparison = figure[method, group, metric].against
        assert comparison is not None
        return comparison.difference.value

    compared = [name for name in full if name != PLAIN] if PLAIN in full else []
    gain = {name: difference(name, *MAIN) for name in compared}
    price = {name: difference(name, ONE, "exact") for name in compared}
    picked, fixed = sweep.chosen(methods, gain, price), sweep.fixed()
    order = (*fixed[:2], *picked[:FIRST_CHOSEN], *fixed[2:], *picked[FIRST_CHOSEN:])
    return list({method.name: method for method in order}.values())


def _pixels(drawing: Drawing) -> list[int]:
    """Pixels of the model's cross-attention layers, the finest first."""
    config = drawing.pipe.unet.config
    side = config.sample_size if isinstance(config.sample_size, int) else config.sample_size[0]
    blocks = config.down_block_types
    return [(side >> level) ** 2 for level, kind in enumerate(blocks) if "CrossAttn" in kind]


def _said(task: Task, line: Line) -> str:
    rates = ", ".join(f"{name} {sum(values) / len(values):.3f}" for name, values in line.scores.items())
    return f"{task.part} {task.batch}: {task.method.name}: {rates} ({line.seconds:.2f} s)"


def sheets(
    drawing: Drawing, folder: Path, size: Size, reported: Sequence[Method], most: int = 3, rows: int = 3
) -> None:
    """Contact sheets of the largest wins and losses on the reporting half: the published step and the best choices."""
    asked = size.reporting.items(REPORTING)
    found = outcomes(read_lines(folder), REPORTING, asked, drawing.sampling.batch)
    shown = [method for method in reported[1:] if method.name in found][:most]
    for number, method in enumerate(shown, 1):
        wins, losses = largest(found[method.name], found.get(PLAIN, {}), Judge.metrics, rows * COLUMNS)
        draw_sheet(drawing, method, asked, wins, losses, folder / f"sheet-{number}.png")
