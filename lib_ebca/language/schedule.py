"""A value over the course of a pass, as tables that are read by the number of the UNet evaluation.

A table for n steps has n + 1 entries: PNDM evaluates the UNet once more than it steps.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Literal

from lib_ebca.language.checks import PlanError
from lib_ebca.language.plan import ROUNDING, SCHEDULES, SMALLEST_DENOMINATOR, Concept, ContextUpdate, Edit
from lib_ebca.language.windows import held

_STRONGEST = 1e300


def table(
    kind: str, value: float, steps: int, tau: float | None = None, ratio: float | None = None
) -> tuple[float, ...]:
    """The published table `kind` of `value`: steps + 1 entries.

    constant: the value. step: 0 before floor(steps * tau), then the value. reverse_step: the value before
    floor(steps * tau), then 0. linear: from value to value + ratio * steps, evenly. exp: value * ratio^i.
    `tau` (a fraction of the pass) belongs to step and reverse_step, `ratio` to linear and exp; elsewhere they are
    not looked at. Linear is computed in single precision, as the published tables are, and rounds like them.
    Raises PlanError for an unknown kind, fewer than one step, a missing tau or ratio, and entries that overflow.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise PlanError("steps", steps, "a whole number of at least 1")
    entries = range(steps + 1)
    if kind == "constant":
        return (value,) * (steps + 1)
    if kind in ("step", "reverse_step"):
        if tau is None:
            raise PlanError("tau", tau, f"a fraction of the pass, from 0 to 1, which the schedule {kind} needs")
        edge = math.floor(steps * tau)
        return tuple(value if (i < edge) == (kind == "reverse_step") else 0.0 for i in entries)
    if kind not in ("linear", "exp"):
        raise PlanError("schedule", kind, f"one of {', '.join(SCHEDULES)}")
    if ratio is None:
        raise PlanError("ratio", ratio, f"a finite number, which the schedule {kind} needs")
    try:
        values = (
            _evenly(value, value + ratio * steps, steps) if kind == "linear" else [value * ratio**i for i in entries]
        )
    except OverflowError:
        values = [math.inf]
    if not all(math.isfinite(entry) for entry in values):
        raise PlanError("ratio", ratio, f"small enough for {value!r} to stay finite over {steps} steps of {kind}")
    return tuple(values)


def update_table(update: ContextUpdate, field: Literal["attn", "norm"], steps: int) -> tuple[float, ...]:
    """One gamma of `update` at each evaluation: its schedule, and 0 outside its window. steps + 1 entries.

    A gamma of 0 stays 0 under every schedule. Raises PlanError as `table` does.
    """
    value = getattr(update, field)
    if value == 0.0:
        return table("constant", 0.0, steps)
    start, until = held(update.start, update.until, steps)
    tau = until if update.schedule == "reverse_step" else start
    return _windowed(table(update.schedule, value, steps, tau, update.ratio), start, until, steps)


def edit_table(edit: Edit, field: Literal["strength", "attn", "norm"], steps: int) -> tuple[float, ...]:
    """One number of `edit` at each evaluation: 0 outside its window. steps + 1 entries. Raises PlanError for steps."""
    start, until = (edit.start, edit.until) if field == "strength" else edit.gamma_window
    return _windowed(table("constant", getattr(edit, field), steps), start, until, steps)


def strength_tables(edits: Sequence[Edit], steps: int) -> list[tuple[float, ...]]:
    """The strengths of all edits at each evaluation.

    Raises PlanError where 1 + their sum falls below 0.1, and for a strength that no average can be made with.

    Windows that hold no step act in the one they lie in, so that edits may meet there which the plan keeps apart.
    """
    for edit in edits:
        # So that the sum of all that a prompt can hold is a number too.
        if abs(edit.strength) > _STRONGEST:
            raise PlanError("strength", edit.strength, f"at most {_STRONGEST:g}, for outputs to be averaged by it")
    tables = [edit_table(edit, "strength", steps) for edit in edits]
    for number, together in enumerate(zip(*tables, strict=True)):
        if math.fsum((1.0, *together)) < SMALLEST_DENOMINATOR - ROUNDING:
            raise PlanError(
                "edits",
                tuple(edits),
                f"longer windows, weaker negative strengths or more steps: in step {number + 1} of {steps} their sum "
                f"is {math.fsum(together):g}, and it has to be -0.9 at least",
                shown=", ".join(f"{edit.text!r} ({edit.strength:+g})" for edit in edits[:8]),
            )
    return tables


def concept_table(concept: Concept, steps: int) -> tuple[bool, ...]:
    """Whether `concept` acts at each evaluation. steps + 1 entries. Raises PlanError for steps."""
    return tuple(
        value != 0.0 for value in _windowed(table("constant", 1.0, steps), concept.start, concept.until, steps)
    )


def _windowed(values: tuple[float, ...], start: float, until: float, steps: int) -> tuple[float, ...]:
    start, until = held(start, until, steps)
    first = math.floor(steps * start)
    last = len(values) if until == 1.0 else math.floor(steps * until)
    return tuple(value if first <= i < last else 0.0 for i, value in enumerate(values))


def _single(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _evenly(first: float, last: float, steps: int) -> list[float]:
    # Counted from whichever end is nearer, so that both ends are met exactly.
    first, last = _single(first), _single(last)
    step = _single(_single(last - first) / steps)
    middle = (steps + 1) // 2
    return [_single(first + step * i if i < middle else last - step * (steps - i)) for i in range(steps + 1)]
