"""What a whole picture costs: prompts read, every step taken, the latent decoded; stock and under plans, side by side.

The rounds are interleaved as in :mod:`benchmarks.overhead`. A round of one way is one call of the pipeline, so that
what a plan needs once a picture (its edits' embeddings, what the layers keep) is in the price.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from lib_ebca.hosts.diffusers import energy_attention
from lib_ebca.language.directives import parse
from lib_ebca.language.plan import Plan

from . import memory
from .machine import machine, versions
from .timing import Ratio, interleaved, paired

PROMPT = "a red circle on a white background"

PLANS: Mapping[str, Plan | None] = {
    "stock": None,
    "off": Plan(),
    "bcu": parse("<bcu>").plan,
    "bcu+1": parse("<bcu> <edit:a blue square:0.75>").plan,
    "bcu+2": parse("<bcu> <edit:a blue square:0.75> <edit:a green star:-0.65>").plan,
    "edit": parse("<edit:a blue square:0.75>").plan,
    "moving edit": parse("<edit:a blue square:0.75:attn=6e-4:norm=6e-4>").plan,
}
"""By name; the first one is what the others are compared with: the pipeline as it is."""


@dataclass(frozen=True)
class PictureCost:
    """One way of drawing.

    Attributes:
        name: in :data:`PLANS`.
        seconds: median of a picture, by the wall clock.
        ratio: of wall-clock time to the stock's.
        cpu_ratio: of the process' CPU time to the stock's: what other processes take does not enter. CPU only.
        peak_bytes: most memory above the weights.
        peak_ratio: that, over the stock's.
    """

    name: str
    seconds: float
    ratio: Ratio
    cpu_ratio: Ratio | None
    peak_bytes: int
    peak_ratio: float


@dataclass(frozen=True)
class PictureReport:
    """A measurement, with all that is needed to make it again."""

    model: str
    width: int
    height: int
    steps: int
    repeats: int
    machine: dict[str, Any]
    versions: dict[str, str]
    results: tuple[PictureCost, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON will hold it."""
        return dataclasses.asdict(self)


def measure(
    pipe: Any, model: str, steps: int, repeats: int, progress: Callable[[str], None] = lambda sentence: None
) -> PictureReport:
    """Draw one picture over and over, each way once a round.

    Args:
        pipe: a diffusers pipeline that :func:`~lib_ebca.hosts.diffusers.energy_attention` can serve.
        model: its name, for the report.
        steps: sampling steps of a picture.
        repeats: rounds, at least 1.
        progress: is told what happens now.
    """
    device = torch.device(pipe.unet.device)
    draws = [partial(_draw, pipe, plan, steps) for plan in PLANS.values()]
    # What the first picture of all leaves behind would be counted as the stock's.
    draws[0]()
    peaks = []
    for name, draw in zip(PLANS, draws, strict=True):
        progress(f"{name}: warm-up, memory")
        peaks.append(memory.peak_bytes(draw, device))
    progress(f"timing {repeats} rounds of {len(draws)}")
    samples = interleaved(draws, repeats, 1, device)
    walls, cpus = ([[getattr(each, clock) for each in own] for own in samples] for clock in ("wall", "cpu"))
    results = tuple(
        PictureCost(
            name,
            statistics.median(wall),
            paired(wall, walls[0]),
            paired(cpu, cpus[0]) if device.type == "cpu" else None,
            peak,
            peak / peaks[0],
        )
        for name, wall, cpu, peak in zip(PLANS, walls, cpus, peaks, strict=True)
    )
    sample = pipe.unet.config.sample_size
    height, width = (sample, sample) if isinstance(sample, int) else sample
    factor = pipe.vae_scale_factor
    return PictureReport(model, width * factor, height * factor, steps, repeats, machine(device), versions(), results)


def _draw(pipe: Any, plan: Plan | None, steps: int) -> None:
    with nullcontext() if plan is None else energy_attention(pipe, plan):
        pipe(PROMPT, num_inference_steps=steps, generator=torch.Generator().manual_seed(0))
