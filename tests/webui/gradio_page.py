"""The accordion of both tabs on a page of real gradio, with the WebUI's two boxes and our script: ``PYTHON FILE PORT``.

It runs in whatever Python has the gradio to try (3.41 of AUTOMATIC1111, 4.40 of Forge) and needs nothing else of the
WebUI. What gradio warns of is an error here.
"""

from __future__ import annotations

import functools
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import gradio as gr

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))


class InputAccordion:
    """A checkbox, and an accordion around what comes below it."""

    def __init__(self, value: bool, **keywords: Any) -> None:
        box = {**keywords, "elem_id": f"{keywords['elem_id']}-checkbox", "visible": False}
        self._box, self._accordion = gr.Checkbox(value, **box), gr.Accordion(open=True, **keywords)

    def __enter__(self) -> Any:
        self._accordion.__enter__()
        return self._box

    def __exit__(self, *error: Any) -> None:
        self._accordion.__exit__(*error)


def page() -> Any:
    """The page, not yet served."""
    modules: Any = types.ModuleType("modules")
    modules.ui_components = types.ModuleType("modules.ui_components")
    modules.ui_components.InputAccordion = InputAccordion
    sys.modules.update({"modules": modules, "modules.ui_components": modules.ui_components})
    from lib_ebca.webui import accordion

    with gr.Blocks(title=gr.__version__) as blocks:
        for tab in ("txt2img", "img2img"):
            with gr.Tab(tab):
                prompt = gr.Textbox(elem_id=f"{tab}_prompt", lines=3, label="Prompt")
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    accordion.build(functools.partial("script_{}_ebca_{}".format, tab), prompt, tab == "img2img")
    return blocks


def main() -> None:
    """Serve the page until the process is ended."""
    page().queue().launch(server_port=int(sys.argv[1]), quiet=True)


if __name__ == "__main__":
    main()
