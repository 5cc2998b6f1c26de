"""Edits between the accordion's rows and the prompt box, where they stand as directives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from lib_ebca.language.directives import parse, write
from lib_ebca.language.plan import Plan
from lib_ebca.webui.form import EDITS, FIELDS, ROWS, EditRow, Form


def written(prompt: str, *rows: Any) -> list[Any]:
    """The prompt with the rows' edits appended as directives, and the rows emptied. Rows switched off stay."""
    form = _form(rows)
    try:
        edits = form.plan.edits
    except ValueError as error:
        raise gr.Error(_literal(str(error))) from None
    directives = write(Plan(edits=edits))
    kept = [row for row in form.edits if row.edit is None and row.text.strip()]
    return [" ".join(filter(None, (prompt, directives))), *_values(kept)]


def read(prompt: str, *rows: Any) -> list[Any]:
    """The prompt without its edits, and the rows with them after what they held. Other directives stay."""
    form = _form(rows)
    try:
        parsed = parse(prompt)
    except ValueError as error:
        raise gr.Error(_literal(str(error))) from None
    held = [row for row in form.edits if row.text.strip()] + list(map(EditRow.of, parsed.plan.edits))
    if len(held) > EDITS:
        raise gr.Error(f"the prompt's edits and the rows' are {len(held)}: there are {EDITS} rows")
    others = write(replace(parsed.plan, update=parsed.plan.stated_update, edits=()))
    return [" ".join(filter(None, (parsed.text, others))), *_values(held)]


def _literal(message: str) -> str:
    """A message whose directives are seen in gradio 4 too, which shows it as HTML: a tag has no space after its ``<``.

    Both gradios show characters that are not printable as escapes, and gradio 3 entities as they are.
    """
    return message.replace("<", "< ")


def _form(rows: tuple[Any, ...]) -> Form:
    return Form().having({name: value for name, value in zip(ROWS, rows, strict=True) if value is not None})


def _values(held: list[EditRow]) -> list[Any]:
    form = Form(edits=(*held, *(EditRow(),) * (EDITS - len(held))))
    values = dict(zip(FIELDS, form.to_args(), strict=True))
    return [values[name] for name in ROWS]
