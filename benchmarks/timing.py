"""Several ways of doing the same, timed side by side: interleaved rounds, medians, ratios of neighbours in time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

RESAMPLES = 2000


@dataclass(frozen=True)
class Sample:
    """Seconds of one evaluation: on the wall, and of the process' own CPU time."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Ratio:
    """One way over stock in the same round: the median over the rounds, and its bootstrapped 95 % interval."""

    median: float
    low: float
    high: float


def interleaved(
    evaluates: Sequence[Callable[[], object]], rounds: int, burst: int, device: torch.device
) -> list[list[Sample]]:
    """Time each of ``evaluates`` once a round; each round starts with another, so that none always has one neighbour.

    Args:
        evaluates: what to time, already warm.
        rounds: samples of each.
        burst: evaluations in a sample, between two waits for the device: a pipeline does not wait after every step.
        device: where they run.
    """
    samples: list[list[Sample]] = [[] for _ in evaluates]
    for turn in range(rounds):
        for place in range(len(evaluates)):
            index = (turn + place) % len(evaluates)
            synchronise(device)
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(burst):
                evaluates[index]()
            synchronise(device)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            samples[index].append(Sample(wall / burst, cpu / burst))
    return samples


def paired(times: Sequence[float], stock: Sequence[float]) -> Ratio:
    """How ``times`` compare with ``stock``, round by round."""
    ratios = torch.tensor([ours / theirs for ours, theirs in zip(times, stock, strict=True)], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    drawn = ratios[torch.randint(len(ratios), (RESAMPLES, len(ratios)), generator=generator)]
    ends = drawn.quantile(0.5, dim=1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return Ratio(statistics.median(ratios.tolist()), float(ends[0]), float(ends[1]))


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
