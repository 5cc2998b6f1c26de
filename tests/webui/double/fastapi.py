"""The names of fastapi that are used."""

from __future__ import annotations

from typing import Any


def Body(default: Any = None, **_: Any) -> Any:
    return default


class Response:
    def __init__(self, content: str, status_code: int = 200, media_type: str | None = None) -> None:
        self.body, self.status_code, self.media_type = content.encode(), status_code, media_type
