"""The tiny model of the command line's tests, and the command itself."""

from __future__ import annotations

from tests.cli.conftest import draw, ebca, tiny_lora, tiny_model

__all__ = ["draw", "ebca", "tiny_lora", "tiny_model"]
