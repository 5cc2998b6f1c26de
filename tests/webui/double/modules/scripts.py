"""Scripts and their runner: errors in a hook are reported, never raised."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from modules import errors

AlwaysVisible = object()
scripts_data: list[Any] = []


class Script:
    """What the host's scripts inherit from."""

    args_from = 0
    args_to = 0
    section: str | None = None
    infotext_fields: Any = None
    paste_field_names: Any = None
    is_img2img = False

    def title(self) -> str:
        raise NotImplementedError

    def show(self, is_img2img: bool) -> Any:
        return True

    def on_after_component(self, callback: Callable[..., Any], *, elem_id: str) -> None:
        self.after = {**getattr(self, "after", {}), elem_id: callback}

    def elem_id(self, item: str) -> str:
        tab = "img2img" if self.is_img2img else "txt2img"
        title = re.sub(r"[^a-z_0-9]", "", re.sub(r"\s", "_", self.title().lower()))
        return f"script_{tab}_{title}_{item}"


HOOKS = (
    "before_process",
    "process",
    "before_process_batch",
    "after_extra_networks_activate",
    "process_batch",
    "process_before_every_sampling",
    "post_sample",
    "postprocess_batch",
    "postprocess_image",
    "postprocess",
)


class ScriptRunner:
    """One tab's scripts."""

    def __init__(self, *scripts: Any) -> None:
        self.alwayson_scripts = list(scripts)
        self.inputs: list[Any] = [None]
        for script in scripts:
            script.show(script.is_img2img)
            controls = script.ui(script.is_img2img)
            script.args_from = len(self.inputs)
            self.inputs += controls
            script.args_to = len(self.inputs)

    def default_args(self) -> list[Any]:
        """What the API fills in."""
        return [0] + [component.value for component in self.inputs[1:]]

    def run(self, hook: str, p: Any, *args: Any, **keywords: Any) -> None:
        for script in self.alwayson_scripts:
            if not hasattr(script, hook):
                continue
            try:
                own = p.script_args[script.args_from : script.args_to]
                getattr(script, hook)(p, *args, *own, **keywords)
            except Exception as error:
                errors.report(f"Error running {hook}", error)


def component(elem_id: str) -> Any:
    """What the host hands to an on_after_component callback."""
    return SimpleNamespace(component=SimpleNamespace(elem_id=elem_id))
