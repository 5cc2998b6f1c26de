"""What a plan did in a pass, as a sentence for whoever looks at the picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lib_ebca.attention.picture import Values
from lib_ebca.language.checks import shortened
from lib_ebca.language.parts import Boost
from lib_ebca.language.plan import Plan

_LONGEST = 40


def acted(plan: Plan, values: Sequence[Values], layers: int) -> str:
    """In how many layers a picture's plan acted, and each of its parts in how many evaluations.

    Args:
        plan: the picture's.
        values: its numbers at each evaluation that took place.
        layers: how many layers gave an output of ours.

    Returns:
        The sentence; empty where nothing of the plan belongs into the layers.
    """
    parts = [f"{name} in {count} of {len(values)}" for name, count in _counted(plan, values)]
    if not parts:
        return ""
    return f"EBCA acted in {layers} layers; evaluations: {', '.join(parts)}."


def _counted(plan: Plan, values: Sequence[Values]) -> Iterator[tuple[str, int]]:
    if plan.update is not None and plan.update.active:
        boosts = "".join(f", {_named(boost)} at {boost.factor:g}" for boost in plan.boosts)
        name = f"update ({plan.update.attn:g}, {plan.update.norm:g}{boosts})"
        yield name, sum(each.attn != 0.0 or each.norm != 0.0 for each in values)
    for number, edit in enumerate(plan.edits):
        if edit.active:
            name = f"edit {shortened(edit.text, _LONGEST)} ({edit.strength:+g})"
            yield name, sum(each.strengths[number] != 0.0 for each in values)
    for number, concept in enumerate(plan.concepts):
        weights = ", ".join(f"{name} {weight:g}" for name, weight in concept.weights)
        yield f"concept {concept.word} ({weights})", sum(each.factors[number] for each in values)


def _named(boost: Boost) -> str:
    return boost.word if boost.occurrence is None else f"{boost.word}#{boost.occurrence}"
