"""Placeholders for our directives among the host's extra networks.

Where the host reads a prompt that never came past us (another extension's own generation), it takes them out of the
text as it does with its own tags, and does not call them unknown.
"""

from __future__ import annotations

from typing import Any

from modules import extra_networks

from lib_ebca.language.scanning import FORMS


class _Placeholder(extra_networks.ExtraNetwork):
    def activate(self, p: Any, params_list: Any) -> None:
        """Do nothing: directives are carried out elsewhere."""

    def deactivate(self, p: Any) -> None:
        """Do nothing."""


def add() -> None:
    """Register the placeholders (the host's callback before the UI)."""
    for name in FORMS:
        extra_networks.register_extra_network(_Placeholder(name))
