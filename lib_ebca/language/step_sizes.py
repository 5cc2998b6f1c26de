"""Which of a plan's step sizes is to blame where a picture has no finite numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lib_ebca.language.checks import shortened
from lib_ebca.language.excite import PUBLISHED_SCALE
from lib_ebca.language.parts import PUBLISHED_ATTN, PUBLISHED_NORM
from lib_ebca.language.plan import Plan

EDIT_STEP = 1e-3
"""The largest published step size of an editorial prompt's own words."""
_LONGEST = 30


@dataclass(frozen=True)
class StepSize:
    """One step size of a plan beside what is published for its kind, both without units."""

    name: str
    value: float
    published: float

    @property
    def excess(self) -> float:
        """How many times as large as the published one it is, whatever its sign."""
        return abs(self.value) / self.published

    def __str__(self) -> str:
        return f"{self.name} is {self.value:g} (published: {self.published:g})"


def step_sizes(plan: Plan) -> Iterator[StepSize]:
    """Those of the update, with its strongest boost, of the edits and of the subjects."""
    update = plan.update
    if update is not None:
        yield StepSize("attn", update.attn, PUBLISHED_ATTN)
        yield StepSize("norm", update.norm, PUBLISHED_NORM)
        for boost in plan.boosts:
            name = f"attn times the boost of {shortened(boost.word, _LONGEST)!r}"
            yield StepSize(name, update.attn * boost.factor, PUBLISHED_ATTN)
    for edit in plan.edits:
        whose = f"of the edit {shortened(edit.text, _LONGEST)!r}"
        yield StepSize(f"attn {whose}", edit.attn, EDIT_STEP)
        yield StepSize(f"norm {whose}", edit.norm, EDIT_STEP)
    for subject in plan.excite:
        yield StepSize(f"scale of the subject {shortened(subject.word, _LONGEST)!r}", subject.scale, PUBLISHED_SCALE)


def not_finite(plans: Sequence[Plan]) -> str:
    """The sentence on pictures that are not finite: which step sizes of their plans are too large, the worst first."""
    found = {size for plan in plans for size in step_sizes(plan) if size.excess > 1.0}
    worst = sorted(found, key=lambda size: (-size.excess, size.name))
    if not worst:
        return (
            "The picture is not finite, and no step size of its plan is above the published one: "
            "look first whether it is finite without EBCA."
        )
    told = "; ".join(map(str, worst[:3]))
    return (
        f"The picture is not finite: a step was too large for this model. {told}. "
        "Take the published size, or halve yours until a picture comes."
    )
