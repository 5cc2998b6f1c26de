"""Ctrl-C while libraries are being imported."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def held_interrupts() -> Iterator[None]:
    """A Ctrl-C inside the block is raised as KeyboardInterrupt when the block is left.

    For imports: an interrupt inside one may be reported as a broken package, or abort the process where C++ calls
    Python. A handler that somebody else has set, and other threads than the main one, are left alone.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    heard = []

    def note(number: int, frame: Any) -> None:
        heard.append(number)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if heard:
            raise KeyboardInterrupt
