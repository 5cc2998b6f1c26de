"""What the person who asked for a picture can put right."""

from __future__ import annotations


class UserError(Exception):
    """Something that whoever asked can put right. `str()` is the sentence that says what and how."""


class RiskWarning(UserWarning):
    """Something was asked for that may harm whoever asked; the text says what."""
