"""Head relevance as pictures: heads by layer, concepts against each other, steps against the whole, curves."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.methods.head_relevance import relevance
from lib_ebca.methods.head_vectors import HeadVectors
from world.statistics import Estimate

_PANEL = (1.9, 2.3)  # inches
_STYLES = ("-", "-", "--", ":")


def heads(vectors: HeadVectors, concepts: Sequence[str]) -> bytes:
    """A PNG with a panel for each concept: a row for each layer, a column for each head, dark for relevant."""
    columns = min(6, len(concepts))
    rows = math.ceil(len(concepts) / columns)
    figure, grid = _figure(rows, columns, (columns * _PANEL[0], rows * _PANEL[1] + 0.6))
    for axes, concept in zip(grid.flat, concepts, strict=False):
        table = torch.full((len(vectors.heads), max(vectors.heads)), torch.nan)
        for layer, own in enumerate(vectors.by_layer(vectors.relevance[vectors.row(concept)])):
            table[layer, : len(own)] = own
        axes.imshow(table.numpy(), cmap="Blues", aspect="auto", vmin=0)
        axes.set_title(f"{concept} (up to {float(table.nan_to_num().max()):.1f})", fontsize=7)
        axes.tick_params(labelsize=6)
    figure.supxlabel("head", fontsize=8)
    figure.supylabel("cross-attention layer, in the order in which they run", fontsize=8)
    return _png(figure)


def cosines(vectors: HeadVectors) -> bytes:
    """A PNG of the cosine between every two concepts' vectors."""
    unit = F.normalize(vectors.relevance, dim=1)
    side = max(3.5, 0.28 * len(vectors.concepts) + 1.5)
    figure, grid = _figure(1, 1, (side, side))
    axes = grid[0, 0]
    shown = axes.imshow((unit @ unit.T).numpy(), cmap="Blues", vmin=0, vmax=1)
    places = range(len(vectors.concepts))
    axes.set_xticks(places, vectors.concepts, rotation=90, fontsize=7)
    axes.set_yticks(places, vectors.concepts, fontsize=7)
    figure.colorbar(shown, shrink=0.7)
    return _png(figure)


def stability(vectors: HeadVectors) -> bytes:
    """A PNG of the cosine of each evaluation's own vectors to those of all.

    Raises:
        ValueError: the vectors hold no votes by evaluation.
    """
    found = step_cosines(vectors)
    figure, grid = _figure(1, 1, (6.0, 3.6))
    for concept, line in zip(vectors.concepts, found.T.tolist(), strict=True):
        grid[0, 0].plot(line, label=concept, linewidth=1.1)
    grid[0, 0].set_ylim(0, 1.02)
    figure.supxlabel("evaluation of the UNet", fontsize=9)
    figure.supylabel("cosine to the vector of all evaluations", fontsize=9)
    if len(vectors.concepts) <= 12:
        figure.legend(loc="outside right upper", fontsize=7)
    return _png(figure)


def step_cosines(vectors: HeadVectors) -> Tensor:
    """(S, C), the cosine of each evaluation's own vectors to those of all.

    Raises:
        ValueError: the vectors hold no votes by evaluation.
    """
    if vectors.counts is None:
        raise ValueError(f"the vectors ({vectors.origin}) hold no votes by step: only measured ones do")
    own = torch.stack([relevance(counts).float() for counts in vectors.counts])
    return F.cosine_similarity(own, vectors.relevance[None], dim=-1)


def curves(points: Mapping[str, Mapping[int, Estimate]], title: str, score: str) -> bytes:
    """A PNG of the score over the number of weakened heads, a line with its interval for each order."""
    figure, grid = _figure(1, 1, (5.6, 3.8))
    axes = grid[0, 0]
    for (order, line), style in zip(points.items(), _STYLES, strict=False):
        counts = list(line)
        values = [line[count].value for count in counts]
        axes.plot(counts, values, style, label=order, marker=".", linewidth=1.3)
        axes.fill_between(counts, [line[c].low for c in counts], [line[c].high for c in counts], alpha=0.12)
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7)
    figure.supxlabel("heads weakened", fontsize=8)
    figure.supylabel(score, fontsize=8)
    return _png(figure)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False)
    if rows * columns > 1:
        for axes in grid.flat:
            axes.set_xticks([])
    return figure, grid


def _png(figure: Any) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()
