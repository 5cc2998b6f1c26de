"""The accordion with a checkbox."""

from __future__ import annotations

from typing import Any

import gradio as gr


class InputAccordion(gr.Checkbox):
    def __enter__(self) -> InputAccordion:
        return self

    def __exit__(self, *_: Any) -> None:
        pass
