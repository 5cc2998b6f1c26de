"""Components that hold what they were given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Error(Exception):
    """A message for the user."""


def update(**values: Any) -> dict[str, Any]:
    return {"__type__": "update", **values}


class Component:
    def __init__(self, *args: Any, **keywords: Any) -> None:
        self.args, self.value = args, keywords.get("value", args[0] if args else None)
        self.label, self.elem_id = keywords.get("label"), keywords.get("elem_id")
        self.listeners: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {}

    def _listen(self, event: str, fn: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        self.listeners[event] = (fn, inputs, outputs)

    def click(self, fn: Callable[..., Any], inputs: list[Any], outputs: list[Any], show_progress: bool = True) -> None:
        self._listen("click", fn, inputs, outputs)

    def change(self, fn: Callable[..., Any], inputs: list[Any], outputs: list[Any], show_progress: bool = True) -> None:
        self._listen("change", fn, inputs, outputs)

    def input(self, fn: Callable[..., Any], inputs: list[Any], outputs: list[Any], show_progress: bool = True) -> None:
        self._listen("input", fn, inputs, outputs)


class HTML(Component):
    pass


class Checkbox(Component):
    pass


class Number(Component):
    pass


class Textbox(Component):
    pass


class Button(Component):
    pass


class Markdown(Component):
    pass


class Dropdown(Component):
    pass


class Slider(Component):
    pass


class _Block:
    def __init__(self, **keywords: Any) -> None:
        self.elem_id = keywords.get("elem_id")

    def __enter__(self) -> _Block:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class Row(_Block):
    pass


class Group(_Block):
    pass


class Column(_Block):
    pass


class Accordion(_Block):
    def __init__(self, label: str, **keywords: Any) -> None:
        super().__init__(**keywords)
