"""`ebca info`: what a picture says about how it was made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib_ebca.studio import infotext, request

from .options import JsonOption
from .terminal import say, say_json


def info(
    picture: Annotated[Path, typer.Argument(help="A picture made by ebca or by the WebUI.")],
    as_json: JsonOption = False,
) -> None:
    """Print a picture's generation parameters: prompt, settings and plan."""
    text = request.parameters_in(picture)
    if not as_json:
        say(text)
        return
    read = infotext.read(text)
    fields = dict(read.fields)
    say_json({"prompt": read.prompt, "negative": read.negative, "fields": fields})
