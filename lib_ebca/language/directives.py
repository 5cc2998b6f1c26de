"""Prompt text to plan and back.

<edit:TEXT:STRENGTH>, <bcu:ATTN:NORM>, <boost:WORD:FACTOR>, <concept:WORD:CONCEPT>, <excite:WORD>.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lib_ebca.language.checks import PlanError, shortened
from lib_ebca.language.forms import Part, read, write_boost, write_concept, write_edit, write_excite, write_update
from lib_ebca.language.plan import Boost, Concept, ContextUpdate, Edit, Excite, Plan
from lib_ebca.language.scanning import Directive, DirectiveError, found, without

__all__ = ["DirectiveError", "Parsed", "parse", "write"]


@dataclass(frozen=True)
class Parsed:
    """A prompt without its directives, and the plan that they made."""

    text: str
    plan: Plan


@lru_cache(maxsize=256)  # many pictures are of few prompts
def parse(prompt: str) -> Parsed:
    """Take the directives out of `prompt` and read them. Raises DirectiveError, and nothing else, for any string.

    Where white space stands on both sides of a removed directive, one space goes with it; white space that it leaves
    at an end of the prompt goes too. A prompt without directives is returned unchanged.
    """
    directives = list(found(prompt))
    if not directives:
        return Parsed(prompt, Plan())
    parts = [(directive, read(directive)) for directive in directives]
    updates = [(directive, part) for directive, part in parts if isinstance(part, ContextUpdate)]
    if len(updates) > 1:
        updates[1][0].refuse(f"a prompt takes one <bcu>, and it already has {shortened(updates[0][0].text, 40)}")
    try:
        plan = Plan(
            update=updates[0][1] if updates else None,
            edits=tuple(part for _, part in parts if isinstance(part, Edit)),
            boosts=tuple(part for _, part in parts if isinstance(part, Boost)),
            concepts=tuple(part for _, part in parts if isinstance(part, Concept)),
            excite=tuple(part for _, part in parts if isinstance(part, Excite)),
        )
    except PlanError as error:
        raise _quoting_all(error, parts) from None
    return Parsed(without(prompt, directives), plan)


def write(plan: Plan) -> str:
    """The directives that `parse` reads back to an equal plan, separated by spaces; "" for an empty plan.

    Following has none: it is between prompts.
    """
    update = plan.stated_update
    written = [] if update is None else [write_update(update)]
    written += map(write_edit, plan.edits)
    written += map(write_boost, plan.boosts)
    written += map(write_concept, plan.concepts)
    return " ".join([*written, *map(write_excite, plan.excite)])


def _quoting_all(error: PlanError, parts: list[tuple[Directive, Part]]) -> DirectiveError:
    if error.field == "edits" and isinstance(error.value, tuple):
        guilty = {id(edit) for edit in error.value}
        quoted = [directive for directive, part in parts if id(part) in guilty]
    else:
        quoted = [directive for directive, part in parts if not isinstance(part, Edit)]
    text = " ".join(directive.text for directive in quoted)
    return DirectiveError(
        text, quoted[0].start, quoted[-1].end, f"{error.field} is {error.shown}: it should be {error.expected}"
    )
