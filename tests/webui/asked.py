"""Prompts that the tests of the traps ask for, faults that they inject, and how near pictures have to be."""

from __future__ import annotations

from typing import Any

from torch import Tensor

ON = [True]
BCU = "a cat on a sofa <bcu:0.05:0.1>"
FULL = "a cat on a sofa <bcu:0.05:0.1> <edit:dog:0.6:attn=0.02> <edit:shirt:-0.3:from=0.5> <boost:cat:2>"
LONG = ", ".join(["castle"] * 50)


class Stop(Exception):
    """Injected."""


def at(step: int, error: type[BaseException]) -> Any:
    def fail(now: int) -> None:
        if now == step:
            raise error

    return fail


def close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() < 1e-4 * max(1.0, float(b.abs().max())))


def complaints(job: Any) -> list[str]:
    """What stands under a job's pictures besides what acted in them."""
    return [comment for comment in job.comments if "EBCA acted in" not in comment]
