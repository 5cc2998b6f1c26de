"""Where the host prints what went wrong in a script."""

from __future__ import annotations

reported: list[str] = []


def report(message: str, error: BaseException) -> None:
    """Keep it for the tests to see."""
    reported.append(f"{message}: {type(error).__name__}: {error}")
