"""How far a picture is, told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable

Advance = Callable[[int, int], None]
"""Takes how many steps are done and how many there are."""


def silent(done: int, total: int) -> None:
    """An Advance that shows nothing."""
