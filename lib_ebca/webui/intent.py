"""What is wanted of each picture: the accordion's plan, and over it the directives of the picture's own prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib_ebca.language.directives import DirectiveError, parse
from lib_ebca.language.plan import Plan
from lib_ebca.webui.form import Form


class NegativePromptError(ValueError):
    """A directive stands in a negative prompt."""


@dataclass(frozen=True)
class Intent:
    """One picture of one pass: the prompt that the text encoder is to read, and the plan."""

    text: str
    plan: Plan


def intent(form: Form, prompt: str, negative: str, *, hires: bool = False, directives: bool = True) -> Intent:
    """What is wanted of a picture. Directives always leave the text; they act if the form or ``directives`` says so.

    Raises:
        DirectiveError: a directive cannot be read.
        NegativePromptError: a directive stands in the negative prompt.
        PlanError: the accordion's values, or they and the directives together, make no plan.
    """
    _refuse_negative(negative)
    parsed = parse(prompt)
    plan = form.plan if form.enabled and form.acts_in(hires) else Plan()
    if form.enabled or directives:
        plan = plan.merged(parsed.plan)
    return Intent(parsed.text, plan)


def intents(
    form: Form, prompts: Sequence[str], negatives: Sequence[str], *, hires: bool = False, directives: bool = True
) -> tuple[Intent, ...]:
    """The intents of a batch. Raises as :func:`intent` does."""
    return tuple(
        intent(form, prompt, negative, hires=hires, directives=directives)
        for prompt, negative in zip(prompts, negatives, strict=True)
    )


def _refuse_negative(negative: str) -> None:
    try:
        found = parse(negative).text != negative
        shown = ""
    except DirectiveError as error:
        found, shown = True, f" ({error.directive})"
    if found:
        raise NegativePromptError(
            f"the negative prompt holds an EBCA directive{shown}: directives belong into the prompt, "
            "where an edit of negative strength takes something away"
        )
