"""The page's tables, made from a study's results and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib_ebca.studio.pictures import write_over
from world.statistics import holm

from ..scorers.loading import OWN
from . import sweep
from .analysis import Figure, costs, figures, outcomes
from .methods import PLAIN, Method
from .prompts import COLOURED, HALVES, HELD_OUT, ONE, THREE, TWO, Item
from .results import Line, read_lines, read_run
from .scoring import Judge, Metric
from .study import CHOSEN, Counts, Size, parts
from .tables import Column, Table, markdown, probability, table

BLOCK = "tables"
TUNING, REPORTING = HALVES
METRICS = {metric.name: metric for metric in Judge.metrics}
LEVEL = 0.05


class PageError(ValueError):
    """The page cannot take the tables."""


def markers(block: str = BLOCK) -> tuple[str, str]:
    """The lines of a page between which a block stands."""
    return f"<!-- {block}: begin -->", f"<!-- {block}: end -->"


def with_place(page: Path, block: str = BLOCK) -> str:
    """The text of a page that has a place for a block. Raises PageError where it has none."""
    begin, end = markers(block)
    found = page.read_text(encoding="utf-8") if page.is_file() else ""
    if found.count(begin) != 1 or found.count(end) != 1 or found.index(begin) > found.index(end):
        raise PageError(f"{page} should hold the line {begin} once and after it the line {end}")
    return found


def renewed(page: Path, text: str, block: str = BLOCK) -> None:
    """Put `text` between the page's markers of a block. Raises PageError."""
    begin, end = markers(block)
    found = with_place(page, block)
    before, after = found[: found.index(begin)], found[found.index(end) :]
    write_over(page, f"{before}{begin}\n\n{text.strip()}\n\n{after}".encode())


def places(page: Path, blocks: Sequence[str]) -> list[str]:
    """The blocks that a page has a place for. Raises PageError where that is none, or half of one."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    here = [block for block in blocks if any(marker in text for marker in markers(block))]
    for block in here or blocks[:1]:
        with_place(page, block)
    return here


def renewed_blocks(pages: Sequence[Path], blocks: Mapping[str, str]) -> None:
    """Put each block into every page that has a place for it. Raises PageError where a page has none for any."""
    for page in pages:
        for block in places(page, list(blocks)):
            renewed(page, blocks[block], block)


def study_tables(folder: Path, model: Path) -> str:
    """The tables of the study whose results lie in `folder`, in Markdown. Raises ResultsError."""
    run, lines = read_run(folder), read_lines(folder)
    size = Size(Counts(**run["size"]["tuning"]), Counts(**run["size"]["reporting"]))
    batch = int(run["sampling"]["batch"])
    everything = parts(size)
    chosen = json.loads((folder / CHOSEN).read_text(encoding="utf-8")) if (folder / CHOSEN).exists() else []
    blocks = [_facts(run), *(markdown(t) for t in judge_table(model))]
    for part in (REPORTING, TUNING):
        part_lines = [line for line in lines if line.part == part]
        if part_lines:
            blocks += _part(part, part_lines, everything[part], batch, chosen)
    return "\n".join(blocks)


def _facts(run: dict[str, Any]) -> str:
    sampling = run["sampling"]
    return (
        f"Model {run['model']} (first digits of the SHA-256 of the UNet's weights), {run['sampler']}, "
        f"{sampling['steps']} steps, guidance {sampling['guidance']:g}, {run['dtype']}, {run['device']}.\n"
    )


def judge_table(model: Path) -> list[Table]:
    """The judge's own accuracy as it was measured with the model in that folder; nothing if it was not."""
    return _accuracy(model / "judge.json", "The judge's own accuracy")


def scorer_table(model: Path) -> list[Table]:
    """The same of the model's own CLIP: how often a caption with one wrong word is less like a picture than its own."""
    return _accuracy(model / OWN / "accuracy.json", "The scorer's own accuracy: told from a caption with one wrong")


def _accuracy(path: Path, title: str) -> list[Table]:
    if not path.is_file():
        return []
    rows = tuple(
        (kind, question, f"{100 * value['rate']:.1f} % [{100 * value['low']:.1f}, {100 * value['high']:.1f}]")
        for kind, rates in json.loads(path.read_text(encoding="utf-8")).items()
        for question, value in rates.items()
    )
    return [Table(title, ("pictures", "question", "right"), rows)]


def _part(part: str, lines: Sequence[Line], items: Sequence[Item], batch: int, chosen: Sequence[str]) -> list[str]:
    found = outcomes(lines, part, items, batch)
    complete = {name: scores for name, scores in found.items() if len(scores) == len(items)}
    methods = {method.name: method for method in sweep.sweep() if method.name in complete}
    made = figures(complete, items, list(METRICS.values()), list(methods))
    sizes = {
        (part, number): len(items[number * batch : (number + 1) * batch]) for number in range(-(-len(items) // batch))
    }
    cost = costs([line for line in lines if line.method in methods], sizes)
    counts = ", ".join(
        f"{group} {sum(i.group == group for i in items)}" for group in dict.fromkeys(i.group for i in items)
    )
    if part == TUNING:
        title = f"Tuning half, all configurations; differences from the plain model in points (pictures: {counts})"
        return [markdown(table(title, _by_family(methods, list(methods)), _differences(HELD_OUT), made, cost))]
    listed = [name for name in chosen if name in methods]
    rest = [name for name in methods if name not in listed]
    blocks = [
        markdown(table(f"Reporting half: rates (pictures: {counts})", listed, _rates(), made, cost)),
        markdown(table("Reporting half: differences from the plain model, points", listed, _differences(), made, cost)),
        _verdict(made, [methods[name] for name in listed]),
    ]
    if rest:
        title = "Reporting half: configurations that were not chosen, differences in points"
        blocks.append(markdown(table(title, _by_family(methods, rest), _differences(), made, cost)))
    return blocks


def _rates() -> list[Column]:
    return [
        Column("three: objects met", THREE, METRICS["met"]),
        Column("three: all of them", THREE, METRICS["binding"]),
        Column("three: wrong colour", THREE, METRICS["crossed"]),
        Column("two coloured: both", COLOURED, METRICS["binding"]),
        Column("held-out: both", HELD_OUT, METRICS["binding"]),
        Column("two: both shapes", TWO, METRICS["shapes"]),
        Column("one: exact", ONE, METRICS["exact"]),
    ]


def _differences(*without: object) -> list[Column]:
    return [
        Column(column.heading, column.group, column.metric, difference=True)
        for column in _rates()
        if column.group not in without
    ]


def _by_family(methods: dict[str, Method], names: Sequence[str]) -> list[str]:
    families = list(dict.fromkeys(methods[name].family for name in names))
    return sorted(names, key=lambda name: families.index(methods[name].family))


def _verdict(made: Sequence[Figure], methods: Sequence[Method]) -> str:
    """Which methods changed the rate of right bindings, adjusted for having looked at all of them."""
    lines = []
    asked = (
        (THREE, METRICS["met"]),
        (THREE, METRICS["binding"]),
        (COLOURED, METRICS["binding"]),
        (HELD_OUT, METRICS["binding"]),
        (TWO, METRICS["shapes"]),
    )
    for group, metric in asked:
        rows = _rows(made, methods, group, metric)
        heading = ("method", "plain better", "method better", "p", "p (Holm)", "gain")
        title = f"Reporting half, {group}: {metric.meaning}"
        if rows:
            lines.append(markdown(Table(title, heading, rows)))
    return "\n".join(lines)


def _rows(made: Sequence[Figure], methods: Sequence[Method], group: str, metric: Metric) -> tuple[tuple[str, ...], ...]:
    asked = {method.name: method for method in methods if method.name != PLAIN}
    found = [f for f in made if f.method in asked and (f.group, f.metric) == (group, metric.name) and f.against]
    comparisons = [f.against for f in found if f.against is not None]
    adjusted = holm([c.p for c in comparisons])
    return tuple(
        (
            figure.method + (" (control)" if asked[figure.method].family in sweep.CONTROLS else ""),
            str(comparison.losses),
            str(comparison.wins),
            probability(comparison.p),
            probability(p),
            ("more" if comparison.difference.value > 0 else "fewer") if p < LEVEL else "none shown",
        )
        for figure, comparison, p in zip(found, comparisons, adjusted, strict=True)
    )
