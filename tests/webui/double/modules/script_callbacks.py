"""The host's callbacks, cleared before scripts are loaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

callbacks: defaultdict[str, list[Callable[..., Any]]] = defaultdict(list)


def on_ui_settings(callback: Callable[..., Any]) -> None:
    callbacks["ui_settings"].append(callback)


def on_before_ui(callback: Callable[..., Any]) -> None:
    callbacks["before_ui"].append(callback)


def on_app_started(callback: Callable[..., Any]) -> None:
    callbacks["app_started"].append(callback)
