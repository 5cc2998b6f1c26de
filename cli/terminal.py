"""The one way to the terminal: nothing of the user's, or of a file's, is obeyed there."""

from __future__ import annotations

import json
import re
from typing import IO, Any

import typer

# C0 and C1 controls but tab and newline, delete, lone surrogates, and the marks that turn the writing direction round.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str) -> str:
    r"""`text` with everything that a terminal would obey written out: an escape is \x1b."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def say(text: object = "", *, err: bool = False) -> None:
    """A line on stdout, or on stderr."""
    typer.echo(shown(str(text)), err=err)


def say_json(value: Any, file: IO[str] | None = None) -> None:
    """`value` as one line of JSON on stdout, or in `file`. Non-ASCII letters stay readable."""
    line = json.dumps(value, ensure_ascii=False)
    typer.echo(_UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", line), file=file)
