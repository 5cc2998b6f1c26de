"""Recorded energies and attention maps as pictures for the gallery."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image

from lib_ebca.attention.record import EnergyRecord, Recorder

_MOST_WORDS = 12


def pictures(recorder: Recorder, words: Sequence[Sequence[tuple[str, tuple[int, ...]]]]) -> list[Image.Image]:
    """What a pass recorded: one plot of the energies, and one sheet of maps for each picture.

    Args:
        recorder: what was recorded.
        words: for each picture, its words and their rows of the context.
    """
    drawn = [_energies(recorder.energies)] if recorder.energies else []
    if recorder.maps.sizes:
        drawn += [_maps(recorder, number, each) for number, each in enumerate(words) if each]
    return drawn


def _energies(records: Sequence[EnergyRecord]) -> Image.Image:
    figure = Figure(figsize=(9, 3), layout="constrained")
    steps = sorted({record.step for record in records})
    for number, (name, title) in enumerate(
        (("likelihood", "E(Q; K)"), ("conditional", "E(K; Q)"), ("prior", "E(K)")), start=1
    ):
        axes = figure.add_subplot(1, 3, number)
        axes.set_title(f"{title}, mean over layers")
        axes.set_xlabel("evaluation")
        for picture in range(len(getattr(records[0], name))):
            sums = {step: [0.0, 0] for step in steps}
            for record in records:
                sums[record.step][0] += getattr(record, name)[picture]
                sums[record.step][1] += 1
            axes.plot(steps, [total / count for total, count in sums.values()], label=f"picture {picture + 1}")
    figure.axes[0].legend()
    return _drawn(figure)


def _maps(recorder: Recorder, picture: int, words: Sequence[tuple[str, tuple[int, ...]]]) -> Image.Image:
    shown = words[:_MOST_WORDS]
    columns = min(len(shown), 4)
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(2.4 * columns, 2.6 * lines), layout="constrained")
    for number, (word, rows) in enumerate(shown, start=1):
        axes = figure.add_subplot(lines, columns, number)
        axes.set_title(word)
        axes.set_axis_off()
        heat = recorder.maps.map(picture, rows)
        smooth = F.interpolate(heat[None, None], scale_factor=4, mode="bilinear", align_corners=False)
        axes.imshow(torch.clamp(smooth[0, 0], min=0).numpy(), cmap="magma")
    return _drawn(figure)


def _drawn(figure: Figure) -> Image.Image:
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=100)
    return Image.open(written).convert("RGB")
