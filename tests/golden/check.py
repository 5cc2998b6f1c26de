"""A case against its tolerances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from tests.golden import (
    attend_and_excite_level,
    energy_level,
    head_relevance_level,
    layer_level,
    loop_level,
    photo,
    prompt_to_prompt_level,
    schedule_level,
    unet_level,
)
from tests.golden.case import Case, cases

Run = Callable[[Case, torch.dtype], dict[str, Tensor]]
RUNS: dict[str, Run] = {
    "layer": layer_level.run,
    "unet": unet_level.run,
    "loop": loop_level.run,
    "energy": energy_level.run,
    **attend_and_excite_level.RUNS,
    **head_relevance_level.RUNS,
    **prompt_to_prompt_level.RUNS,
}
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
FLOAT64_LIMIT = 1e-10
FLOAT64_LOOP_LIMIT = 1e-8
"""Where a case states no tolerance of its own."""
FLOAT32_NOISE = 10.0
"""float32 may be this many times as far from the reference's float64 run as the reference's own float32 run was.

Where that noise is zero nothing is computed (a context that no gamma moves), so that our result must be equal too.
"""


@dataclass(frozen=True)
class Verdict:
    """What became of one case in one precision.

    Attributes:
        level: the case's level.
        name: the case's name.
        precision: float64, float32, or "exact" for the tables.
        status: passed or failed.
        error: the largest absolute difference in the tensor that comes nearest to its limit.
        share: that difference, in limits.
        detail: that tensor's name, or why the case could not be compared.
    """

    level: str
    name: str
    precision: str
    status: Literal["passed", "failed"]
    error: float = 0.0
    share: float = 0.0
    detail: str = ""


def verdicts(folder: Path) -> Iterator[Verdict]:
    """Run every case of a folder.

    Raises:
        ValueError: the folder holds no cases.
    """
    for case in cases(folder):
        yield from verdicts_on(case)


def verdicts_on(case: Case) -> Iterator[Verdict]:
    """Run one case in both precisions; the tables are compared once, each for itself."""
    if case.level == "gamma_schedule":
        yield from _tables(case)
        return
    if case.level == "hrv_heads":
        yield from _places(case)
        return
    for precision in PRECISIONS:
        # A case that breaks down has failed, and the others are to be run all the same.
        try:
            if precision == "float32" and case.meta.get("float32_values", "same") is None:
                continue  # the reference itself took another number of iterations
            yield _verdict(case, precision)
        except Exception as broken:
            yield Verdict(case.level, case.name, precision, "failed", math.inf, math.inf, repr(broken))


def _verdict(case: Case, precision: str) -> Verdict:
    found, expected = _run_of(case)(case, PRECISIONS[precision]), case.expected
    if found.keys() != expected.keys():
        unmatched = ", ".join(sorted(found.keys() ^ expected.keys()))
        return Verdict(case.level, case.name, precision, "failed", math.inf, math.inf, f"unmatched: {unmatched}")
    worst = Verdict(case.level, case.name, precision, "passed")
    for name, wanted in expected.items():
        error = _distance(found[name], wanted)
        share = _share(error, _limit(case, name, precision))
        if share >= worst.share:
            status: Literal["passed", "failed"] = "passed" if share <= 1 else "failed"
            worst = Verdict(case.level, case.name, precision, status, error, share, name)
    return worst


def _run_of(case: Case) -> Run:
    photographs = {"invert": photo.run_realedit, "repaint": photo.run_repaint}
    return next((run for field, run in photographs.items() if field in case.meta), RUNS[case.level])


def _tables(case: Case) -> Iterator[Verdict]:
    for number, published in enumerate(case.meta["tables"]):
        error = schedule_level.error(published)
        name = f"{case.name}[{number}] {published['name']}"
        yield Verdict(case.level, name, "exact", "failed" if error else "passed", error, _share(error, 0.0), "values")


def _places(case: Case) -> Iterator[Verdict]:
    for family, table in case.meta["tables"].items():
        wrong = head_relevance_level.misplaced(table)
        error = float(len(wrong))
        status: Literal["passed", "failed"] = "failed" if wrong else "passed"
        yield Verdict(case.level, f"{case.name} {family}", "exact", status, error, _share(error, 0.0), ", ".join(wrong))


def _distance(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        return math.inf
    distance = float((found.double() - wanted.double()).abs().max())
    return math.inf if math.isnan(distance) else distance


def _limit(case: Case, name: str, precision: str) -> float:
    if precision == "float32":
        return FLOAT32_NOISE * case.noise(name)
    if "tolerance" in case.meta:
        return float(case.meta["tolerance"])
    return FLOAT64_LOOP_LIMIT if case.level == "loop" else FLOAT64_LIMIT


def _share(error: float, limit: float) -> float:
    if error == 0.0:
        return 0.0
    return error / limit if limit else math.inf
