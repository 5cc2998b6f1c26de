"""The command `ebca`: one file per family of sub-commands."""

from __future__ import annotations

__version__ = "0.1.0"
