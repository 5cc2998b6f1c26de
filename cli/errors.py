"""From an exception to one clear sentence on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from lib_ebca.studio.errors import RiskWarning, UserError

from .terminal import give_up_stdout, say

BAD_INPUT = 2
INTERRUPTED = 130


# What the machine and its file systems say, wherever it is met; any other error of the system is a defect of ours.
_OF_THE_MACHINE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
}

_NUMBERS = {"integer": "a whole number", "number": "a number"}


@contextmanager
def sentences(arguments: Sequence[str] = ()) -> Iterator[None]:
    """Ends the command with a sentence: exit code 2 for what the user can put right, 130 for Ctrl-C.

    `arguments` are the command's, in which the value of an option that is no number is looked up.

    Anything else passes through with its traceback: it is a defect, and the traceback is what a report needs.
    Raises typer.Exit.
    """
    try:
        with _risks_told():
            yield
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        sentence = _sentence(error) or _no_number(error, arguments)
        if sentence is None:
            raise
        say(f"Error: {_in_a_line(sentence)}", err=True)
        raise typer.Exit(BAD_INPUT) from None


@contextmanager
def _risks_told() -> Iterator[None]:
    """A warning of ours becomes one line on stderr; those of the libraries stay as they are."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, RiskWarning):
                say(f"Warning: {_in_a_line(str(message))}.", err=True)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _in_a_line(sentence: str) -> str:
    return sentence.replace("\n", "\\n")


def _sentence(error: Exception) -> str | None:
    kind = type(error)
    # The core's errors for bad input are ValueErrors of its own whose text is a sentence already. Classes are told by
    # name here: importing them would load torch where it was not needed.
    if isinstance(error, UserError) or (isinstance(error, ValueError) and kind.__module__.startswith("lib_ebca.")):
        return str(error)
    # A GPU's memory, this machine's to Python, and to torch, which has no class for it.
    if kind.__name__ == "OutOfMemoryError" or isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "the device has not enough memory for this: use a smaller --batch-size, --width and --height, or --dtype"
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        # Of a look at a file, a table, a log or a library's own file; pictures and results have sentences of their own.
        if error.filename is not None:
            return f"cannot use {os.fsdecode(error.filename)}: {error.strerror}"
        give_up_stdout()
        return f"cannot write: {error.strerror}"
    return None


def _no_number(error: Exception, arguments: Sequence[str]) -> str | None:
    """In our words, of an option that the parser of the command line found to be no number."""
    options = getattr(getattr(error, "param", None), "opts", ())
    wanted = next((ours for kind, ours in _NUMBERS.items() if f"valid {kind}" in str(error)), None)
    if type(error).__name__ != "BadParameter" or wanted is None:
        return None
    for place, argument in enumerate(arguments):
        name, given, value = argument.partition("=")
        if name in options:
            value = value if given else next(iter(arguments[place + 1 :]), "")
            return f"{name} is {value!r}: it should be {wanted}"
    return None
