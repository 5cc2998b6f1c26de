"""Figures as tables of text: one content for the terminal and for Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from world.statistics import Comparison, Estimate

from .analysis import Cost, Figure
from .scoring import Metric


@dataclass(frozen=True)
class Table:
    """A title, a heading for each column, and rows as wide as the heading."""

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Column:
    """One column of figures: a metric on a set, as it is or as the difference from the plain model."""

    heading: str
    group: str
    metric: Metric
    difference: bool = False


def table(
    title: str, methods: Sequence[str], columns: Sequence[Column], figures: Sequence[Figure], costs: dict[str, Cost]
) -> Table:
    """A row for each method: its figures, its UNet evaluations and its time; what was not run is a dash."""
    known = {(f.method, f.group, f.metric): f for f in figures}
    rows = []
    for method in methods:
        cells = [_cell(known.get((method, column.group, column.metric.name)), column) for column in columns]
        rows.append((method, *cells, *_costs(costs.get(method))))
    return Table(title, ("method", *(column.heading for column in columns), "evaluations", "time"), tuple(rows))


def markdown(content: Table) -> str:
    """A Markdown table under its title in bold."""
    lines = [content.heading, ("---",) * len(content.heading), *content.rows]
    body = "\n".join("| " + " | ".join(map(_in_markdown, line)) + " |" for line in lines)
    return f"**{content.title}**\n\n{body}\n"


def _in_markdown(text: str) -> str:
    """A directive as code, or a page would take it for HTML."""
    shown = text.replace("|", "\\|")
    return f"`{shown}`" if re.match(r"<\w", shown) else shown


def rate(estimate: Estimate, percent: bool = True) -> str:
    """`61.2 % [58.1, 64.2]`, or three decimals for scores."""
    if percent:
        return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def change(comparison: Comparison, percent: bool = True) -> str:
    """`+1.6 [-0.4, +3.6]` in points of a hundred, or in thousandths for scores."""
    factor, found = (100, comparison.difference) if percent else (1000, comparison.difference)
    return f"{factor * found.value:+.1f} [{factor * found.low:+.1f}, {factor * found.high:+.1f}]"


def probability(p: float) -> str:
    """`0.03`, or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _cell(figure: Figure | None, column: Column) -> str:
    if figure is None:
        return "-"
    if not column.difference:
        return rate(figure.value, column.metric.share or column.metric.percent)
    return "-" if figure.against is None else change(figure.against, column.metric.share or column.metric.percent)


def _costs(cost: Cost | None) -> tuple[str, str]:
    if cost is None:
        return "-", "-"
    return f"{cost.evaluations:.3g}", "-" if cost.ratio is None else f"x {cost.ratio:.2f}"
