"""Windows of a pass: which of its steps a part of a plan acts in."""

from __future__ import annotations

import math


def held(start: float, until: float, count: int, steps: int | None = None) -> tuple[float, float]:
    """The window itself, or that of the step it lies in where it is too short to hold any.

    A window from `start` to `until` holds the steps from floor(start * count) to floor(until * count) - 1: 0 to 0.2 of
    four steps is none, and every end but 1 is too early in a pass of a single step. Such a window acts in the step in
    which it lies. A window without length holds nothing, but for the one at the very end, which is the last step.

    Args:
        start: a fraction of the pass.
        until: a fraction of the pass; 1 is after everything.
        count: what the fractions are of: steps, or evaluations where a sampler makes one more.
        steps: of the pass; `count` if not given.
    """
    first = math.floor(start * count)
    last = (count if steps is None else steps) - 1
    ends = until == 1.0
    if (start >= until and not ends) or first < (last + 1 if ends else math.floor(until * count)):
        return start, until
    inside = min(first, last)
    # In the middle of steps, so that no rounding moves an end.
    return (inside + 0.5) / count, 1.0 if ends else (inside + 1.5) / count
