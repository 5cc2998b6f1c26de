"""What was done for the subjects of a picture: a plot of their scores, and their maps."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lib_ebca.studio.plots import heat
from lib_ebca.studio.sheet import contact_sheet

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib_ebca.attention.excite_record import ExciteRecord


def scores(records: Sequence[ExciteRecord], title: str) -> bytes:
    """A PNG of one picture's scores over the steps: before each step was altered and after, with its thresholds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = list(dict.fromkeys(name for record in records for name in record.after))
    for number, name in enumerate(names):
        seen = [record for record in records if name in record.after]
        steps = [record.step + 1 for record in seen]
        axes.plot(steps, [record.after[name] for record in seen], "o-", color=f"C{number}", markersize=3, label=name)
        axes.plot(steps, [record.scores.get(name, math.nan) for record in seen], ":", color=f"C{number}")
    asked = [(record.step + 1, record.target) for record in records if record.target is not None]
    axes.plot([step for step, _ in asked], [target for _, target in asked], "k_", markersize=14)
    axes.set(xlabel="step", ylabel="score (dotted: before the step; bar: threshold)", ylim=(0, 1.02))
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    return data.getvalue()


def maps_over_steps(records: Sequence[ExciteRecord], title: str, cell: int = 96) -> Image:
    """One picture's subjects, a row for each and a column for each altered step; black is a map's least value."""
    from PIL import Image

    names = list(dict.fromkeys(name for record in records for name in record.maps))
    paper = Image.new("RGB", (cell, cell), "black")
    rows = [
        (name, [heat(paper, record.maps[name]) if name in record.maps else paper for record in records])
        for name in names
    ]
    return contact_sheet(title, [f"step {record.step + 1}" for record in records], rows, cell=cell)
