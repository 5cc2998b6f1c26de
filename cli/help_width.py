"""Help pages as narrow as the terminal. Click itself wraps at 50 columns at the least."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

_NARROWEST, _WIDEST, _MARGIN = 30, 80, 2
# Newer Typers bring a Click of their own; either way this is the one in use.
_Context: Any = TyperCommand.context_class
_Formatter: Any = _Context.formatter_class


class NarrowFormatter(_Formatter):
    """Text as wide as the terminal, up to 80 columns; a narrow one gives half to the options' names."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        if width is None:
            columns = min(shutil.get_terminal_size().columns, max_width or _WIDEST)
            width = max(columns, _NARROWEST) - _MARGIN
        super().__init__(indent_increment, width, max_width)

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl(rows, min(col_max, self.width // 2), col_spacing)


class NarrowContext(_Context):
    """A context whose help pages are as narrow as they have to be."""

    formatter_class = NarrowFormatter
