"""The one way to the terminal: nothing of the user's, or of a file's, is obeyed there."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import IO, Any

import typer

from lib_ebca.studio.errors import UserError

# C0 and C1 controls but tab and newline, delete, lone surrogates, and the marks that turn the writing direction round.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(text: str, file: IO[str] | None = None) -> str:
    r"""`text` with everything written out that a terminal would obey, or that `file` has no letters for.

    An escape is \x1b; a file that is redirected on Windows, or a terminal without UTF-8, has a few letters alone.
    Without a file it is stdout.
    """
    text = _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
    encoding = _encoding(sys.stdout if file is None else file)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(text: object = "", *, err: bool = False) -> None:
    """A line on stdout, or on stderr. Raises UserError where that takes no more."""
    file = sys.stderr if err else sys.stdout
    _echo(shown(str(text), file), file)


def say_json(value: Any, file: IO[str] | None = None) -> None:
    """`value` as one line of JSON on stdout, or in `file`. Non-ASCII letters stay readable."""
    file = sys.stdout if file is None else file
    line = _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
    encoding = _encoding(file)
    if line.encode(encoding, "replace").decode(encoding) != line:
        line = json.dumps(value)
    _echo(line, file)


def give_up_stdout() -> None:
    """From here on stdout goes nowhere: what is left in its buffer would fail once more at the end of the program."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # there for the rest of the program


def _encoding(file: IO[str] | None) -> str:
    return getattr(file, "encoding", None) or "utf-8"


def _echo(line: str, file: IO[str]) -> None:
    try:
        typer.echo(line, file=file)
    except BrokenPipeError:
        # Whoever reads has read enough: the program ends without a word, as others do.
        raise
    except OSError as error:
        if file is sys.stdout:
            give_up_stdout()
        raise UserError(f"cannot write to the output: {error.strerror or error}") from None
