"""What was done for the subjects of a pass, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class ExciteRecord:
    """One picture at one altered step.

    Attributes:
        step: number of the step.
        picture: number of the picture.
        scores: of each subject, by name, before the step was altered and after the last evaluation that saw them.
        after: as they were measured last within the step.
        losses: before each move of the latent, and where it was looked at only.
        updates: how often the latent was moved.
        refinements: how many of the moves were refinement.
        evaluations: how often the picture was evaluated with a gradient.
        target: the score that the refinement asked for; None where the step has none.
    """

    step: int
    picture: int
    scores: dict[str, float]
    after: dict[str, float]
    losses: tuple[float, ...]
    updates: int
    refinements: int
    evaluations: int
    target: float | None
    maps: dict[str, Tensor] = field(default_factory=dict, compare=False)


def subjects_told(records: Sequence[ExciteRecord], picture: int) -> tuple[str, ...]:
    """A sentence on a picture's subjects: how often its latent was moved, and each one's first and last score."""
    own = [record for record in records if record.picture == picture]
    if not own:
        return ()
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for record in own:
        first = record.scores | first
        last |= record.after
    scores = ", ".join(f"{name} {first[name]:.2f} to {last[name]:.2f}" for name in last)
    refined = sum(record.refinements for record in own)
    steps = f"{len(own)} step" + ("s" if len(own) != 1 else "")
    return (f"Subjects: the latent was moved in {steps}, refined {refined} times; scores {scores}.",)
