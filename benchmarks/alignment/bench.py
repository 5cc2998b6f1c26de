"""`ebca bench alignment`: methods x prompt sets x seeds, for any model, in a folder that can be gone on with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .analysis import Cost, Figure, costs, figures, outcomes
from .drawing import Drawing
from .methods import PLAIN, Method, offered
from .prompt_file import read_prompts
from .prompts import HALVES, Item, Prompt, items
from .protocols import SETS, halved, set_prompts
from .results import Store, read_lines, write_json
from .runner import Task, run, shard_of
from .scoring import Metric, Scorer
from .sheet import COLUMNS, draw_sheet, largest
from .tables import Column, Table, table

PART = "all"
SHEET_ROWS = 2


class BenchError(ValueError):
    """The benchmark cannot be run as asked; one sentence says why, and what would be right."""


@dataclass(frozen=True)
class Question:
    """What is asked of a model.

    Args:
        sets: names out of SETS.
        files: prompts of one's own; each file is a set, named after it.
        prompts: at most so many of each set; None for all.
        seeds: pictures of each prompt.
        methods: names out of `methods.OFFERED`, or directives; the plain model comes first whether it is named or not.
        half: "tuning" or "reporting" for one half of each set's prompts, None for all.
        pictures: at least so many of each set, in place of `seeds`.
        judged: only prompts for which it is written down what the book's judge is to see.

    Raises:
        BenchError: nothing is asked, something twice, or something unknown.
    """

    sets: tuple[str, ...]
    files: tuple[Path, ...] = ()
    prompts: int | None = None
    seeds: int = 1
    methods: tuple[str, ...] = ("bcu",)
    half: str | None = None
    pictures: int | None = None
    judged: bool = False

    def __post_init__(self) -> None:
        names = [*self.sets, *(path.stem for path in self.files)]
        for name in self.sets:
            if name not in SETS:
                raise BenchError(f"set {name!r} is not known: choose from {', '.join(SETS)}, or give --prompts FILE")
        for name in names:
            if names.count(name) > 1:
                raise BenchError(f"set {name!r} is asked for twice: each should have a name of its own")
        if not names:
            raise BenchError("no prompts are asked for: give a set or a file of prompts")
        if self.half not in (None, *HALVES):
            raise BenchError(f"half {self.half!r} is not known: choose from {', '.join(HALVES)}")
        counted = (("seeds", self.seeds), ("prompts of a set", self.prompts), ("pictures of a set", self.pictures))
        for field, value in counted:
            if value is not None and value < 1:
                raise BenchError(f"the number of {field} is {value}: it should be at least 1")
        self.chosen()

    def items(self) -> list[Item]:
        """Every picture, set by set. Raises PromptFileError."""
        groups = [(name, set_prompts(name, self.half)) for name in self.sets]
        groups += [(path.stem, halved(read_prompts(path), self.half)) for path in self.files]
        return [item for name, prompts in groups for item in self._of(name, prompts)]

    def partial(self) -> list[str]:
        """A sentence for each set of which the judge knows a part alone."""
        counts = ((name, set_prompts(name, self.half)) for name in self.sets if self.judged)
        known = [(name, sum(bool(prompt.things) for prompt in prompts), len(prompts)) for name, prompts in counts]
        return [
            f"{name}: {some} of {every} prompts, for the judge and the model know no other things"
            for name, some, every in known
            if some < every
        ]

    def _of(self, group: str, prompts: Sequence[Prompt]) -> list[Item]:
        chosen = [prompt for prompt in prompts if prompt.things or not self.judged][: self.prompts]
        if not chosen:
            raise BenchError(f"set {group!r} has no prompt that is asked for: the judge knows the things of none")
        seeds = self.seeds if self.pictures is None else -(-self.pictures // len(chosen))
        return items(group, chosen, len(chosen) * seeds)

    def chosen(self) -> list[Method]:
        """The methods, the plain model first."""
        try:
            return [offered(name) for name in dict.fromkeys((PLAIN, *self.methods))]
        except ValueError as error:
            raise BenchError(str(error)) from None


@dataclass(frozen=True)
class Answer:
    """What was found: figures and costs, and how much of the question they cover."""

    figures: list[Figure]
    costs: dict[str, Cost]
    done: int
    wanted: int


def bench(
    drawing: Drawing,
    scorers: Sequence[Scorer],
    question: Question,
    folder: Path,
    described: Mapping[str, Any],
    shard: tuple[int, int] = (1, 1),
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Answer:
    """Answer a question, or go on with it. Every batch is drawn by all methods in turn, so times can be compared.

    Args:
        described: what else the results depend on; more methods may be added to a folder later, all else must agree.
        shard: this run's number and how many there are; all of them may share the folder.
        tell: called with the tasks done and all of them.

    Raises:
        ResultsError: the folder holds something else.
        BenchError: the shard is none.
    """
    asked, size = question.items(), drawing.sampling.batch
    try:
        batches = shard_of(range(-(-len(asked) // size)), *shard)
    except ValueError as error:
        raise BenchError(str(error)) from None
    todo = [Task(method, PART, batch) for batch in batches for method in question.chosen()]
    prompts = [[item.group, item.prompt.text, item.seed] for item in asked]
    store = Store(
        folder,
        {**described, "sampling": asdict(drawing.sampling), "items": prompts},
        f"{shard[0]}of{shard[1]}" if shard != (1, 1) else "",
    )
    done = sum(task.key in store.done for task in todo)
    tell(done, len(todo))

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        tell(done, len(todo))

    run(drawing, scorers, todo, {PART: asked}, store, tell=count)
    return answer(question, folder, scorers, size)


def answer(question: Question, folder: Path, scorers: Sequence[Scorer], size: int) -> Answer:
    """What the results in `folder` say, those of all shards together; also written to summary.json."""
    asked, methods = question.items(), [method.name for method in question.chosen()]
    lines = [line for line in read_lines(folder) if line.method in methods]
    metrics = [metric for scorer in scorers for metric in scorer.metrics]
    sizes = {(PART, batch): len(asked[batch * size : (batch + 1) * size]) for batch in range(-(-len(asked) // size))}
    found = Answer(
        figures(outcomes(lines, PART, asked, size), asked, metrics, methods),
        costs(lines, sizes),
        len(lines),
        len(sizes) * len(methods),
    )
    write_json(
        folder / "summary.json",
        {
            "batches": {"done": found.done, "wanted": found.wanted},
            "figures": [asdict(figure) for figure in found.figures],
            "costs": {name: asdict(cost) for name, cost in found.costs.items()},
        },
    )
    return found


def tables(found: Answer, scorers: Sequence[Scorer], question: Question) -> list[Table]:
    """One table for each set: every metric as it is, then the main ones as differences from the plain model."""
    metrics = [metric for scorer in scorers for metric in scorer.metrics]
    methods = [method.name for method in question.chosen()]
    groups = list(dict.fromkeys(figure.group for figure in found.figures))
    return [
        part
        for group in groups
        for part in (
            table(
                f"{group}: {_pictures(found, group)} pictures",
                methods,
                _columns(group, metrics),
                found.figures,
                found.costs,
            ),
            table(f"{group}: against plain", methods[1:], _columns(group, metrics, True), found.figures, found.costs),
        )
    ]


def sheets(drawing: Drawing, scorers: Sequence[Scorer], question: Question, folder: Path) -> list[Path]:
    """A contact sheet of the largest wins and losses of each method, drawn again from the seeds."""
    asked = question.items()
    metrics = [metric for scorer in scorers for metric in scorer.metrics]
    found = outcomes(read_lines(folder), PART, asked, drawing.sampling.batch)
    written = []
    for method in question.chosen()[1:]:
        ours, theirs = found.get(method.name, {}), found.get(PLAIN, {})
        wins, losses = largest(ours, theirs, metrics, SHEET_ROWS * COLUMNS)
        path = folder / f"sheet-{_plain_letters(method.name)}.png"
        draw_sheet(drawing, method, asked, wins, losses, path)
        written += [path] if wins or losses else []
    return written


def _plain_letters(name: str) -> str:
    """A method's name as part of a file's: directives hold signs that file names may not have."""
    return re.sub(r"[^\w.=-]+", "-", name).strip("-")


def _columns(group: str, metrics: Sequence[Metric], difference: bool = False) -> list[Column]:
    return [Column(metric.name, group, metric, difference) for metric in metrics]


def _pictures(found: Answer, group: str) -> int:
    return max(figure.value.n for figure in found.figures if figure.group == group)
