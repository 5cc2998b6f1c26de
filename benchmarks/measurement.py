"""Measurements as JSON, in a file or on stdout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from lib_ebca.studio.errors import UserError


def write_json(target: str, content: dict[str, Any]) -> None:
    """Write a measurement to a file, whole or not at all, or to stdout for "-". Raises UserError."""
    text = json.dumps(content, indent=1)
    if target == "-":
        typer.echo(text)
        return
    path = Path(target)
    # Beside the target, so that the last step is a rename, and a full disk leaves what was there before.
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_text(text + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise UserError(f"--json {target!r} cannot be written: {error.strerror or error}") from None
