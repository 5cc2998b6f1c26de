"""The picture's text: what was done to it, so that it can be made again, and the way back into the accordion.

"EBCA" holds the whole plan of a picture as directives, as the command line writes it. What of it stands in the prompt
as directives stays there; the rest is the accordion's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any

from lib_ebca.language import directives as syntax
from lib_ebca.language.plan import Plan
from lib_ebca.webui.form import EDITS, FIELDS, PASSES, Form
from lib_ebca.webui.intent import intent

PLAN = "EBCA"
WHERE = "EBCA passes"
PHOTO = "EBCA inversion"


def write(parameters: MutableMapping[str, Any], form: Form, directives: bool, active: bool, photo: bool) -> None:
    """Put our labels into the host's parameters, or take them out: the host shares them between jobs.

    Args:
        parameters: the host's.
        form: the accordion.
        directives: whether directives act while the accordion is off.
        active: whether any picture's plan changes anything.
        photo: whether the job edits a picture.
    """
    parameters.pop(PLAN, None)
    parameters.pop(WHERE, None)
    parameters.pop(PHOTO, None)
    if photo:
        parameters[PHOTO] = form.inversion
    if not active:
        return

    def plan(prompt_text: str, negative_prompt: str = "", **_: Any) -> str | None:
        # The host calls this for each picture; the form's own plan does not depend on the pass that it acts in.
        everywhere = replace(form, passes=PASSES[0])
        return syntax.write(intent(everywhere, prompt_text, negative_prompt, directives=directives).plan) or None

    parameters[PLAN] = plan
    if form.enabled and form.passes != PASSES[0]:
        parameters[WHERE] = form.passes


def read(parameters: Mapping[str, Any]) -> Form:
    """The accordion that makes the picture again with the prompt's directives; switched off if it adds nothing."""
    inversion = str(parameters.get(PHOTO, ""))
    whole = syntax.parse(str(parameters.get(PLAN, ""))).plan
    written = syntax.parse(str(parameters.get("Prompt", ""))).plan
    stated = whole.stated_update if whole.stated_update != written.stated_update else None
    edits, boosts = _before(whole.edits, written.edits), _before(whole.boosts, written.boosts)
    rest = Plan(
        stated, edits[:EDITS], boosts, _before(whole.concepts, written.concepts), _before(whole.excite, written.excite)
    )
    if not (rest.update or rest.edits or rest.concepts or rest.excite or inversion):
        return Form()
    form = Form.of(rest, passes=str(parameters.get(WHERE, PASSES[0])))
    return replace(form, photo=True, inversion=inversion) if inversion else form


def _before(whole: tuple[Any, ...], written: tuple[Any, ...]) -> tuple[Any, ...]:
    """The accordion's own come first, the prompt's after them."""
    if written and whole[-len(written) :] == written:
        return whole[: -len(written)]
    return whole


def pasted(name: str) -> Callable[[Mapping[str, Any]], bool | float | str]:
    """The host's callable for one field of the accordion: a picture without EBCA gives its default."""
    index = FIELDS.index(name)

    def value(parameters: Mapping[str, Any]) -> bool | float | str:
        found = read(parameters).to_args()[index]
        # The host takes None for "as it is".
        return "" if found is None else found

    return value


def sent(name: str) -> str:
    """The label under which one field is copied to another tab. No picture holds it."""
    return f"EBCA field {name.replace('_', ' ')}"
