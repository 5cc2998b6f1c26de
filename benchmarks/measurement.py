"""Measurements as JSON, in a file or on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.pictures import write_over


def write_json(target: str, content: dict[str, Any]) -> None:
    """Write a measurement to a file, whole or not at all, or to stdout for "-". Raises UserError."""
    text = json.dumps(content, indent=1)
    if target == "-":
        typer.echo(text)
        return
    try:
        write_over(Path(target), f"{text}\n".encode())
    except (OSError, ValueError) as error:
        raise UserError(f"--json {target!r} cannot be written: {getattr(error, 'strerror', None) or error}") from None
