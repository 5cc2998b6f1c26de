"""The one name of fastapi that is used."""

from __future__ import annotations

from typing import Any


def Body(default: Any = None, **_: Any) -> Any:
    return default
