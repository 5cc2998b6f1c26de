"""`ebca info`: what a picture says about how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lib_ebca.studio import infotext, request

from .options import JsonOption


def info(
    picture: Annotated[Path, typer.Argument(help="A picture made by ebca or by the WebUI.")],
    as_json: JsonOption = False,
) -> None:
    """Print a picture's generation parameters: prompt, settings and plan."""
    text = request.parameters_in(picture)
    if not as_json:
        typer.echo(text)
        return
    read = infotext.read(text)
    fields = dict(read.fields)
    typer.echo(json.dumps({"prompt": read.prompt, "negative": read.negative, "fields": fields}, ensure_ascii=False))
