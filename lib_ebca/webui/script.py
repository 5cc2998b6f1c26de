"""The script that the host runs: its hooks handed on to the lifecycle, its fields to the accordion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modules import script_callbacks, scripts

from lib_ebca.webui import accordion, axes, check, infotext, networks, settings
from lib_ebca.webui.form import FIELDS
from lib_ebca.webui.lifecycle import Lifecycle


class EbcaScript:
    """Mixed into the host's Script by the file that the host loads."""

    # The host's Script brings these.
    elem_id: Callable[[str], str]
    on_after_component: Callable[..., None]

    section = "accordions"
    create_group = False  # among the host's own accordions an open one takes the whole width

    def __init__(self) -> None:
        super().__init__()
        self._lifecycle = Lifecycle()
        self._prompt: Any | None = None
        self.infotext_fields: list[Any] = []
        self.paste_field_names: list[str] = []

    def title(self) -> str:
        """The name in the API, for good."""
        return accordion.TITLE

    def show(self, is_img2img: bool) -> Any:
        """On both tabs; notes the tab's prompt box as it is drawn."""
        tab = "img2img" if is_img2img else "txt2img"
        self.on_after_component(self._found_prompt, elem_id=f"{tab}_prompt")
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> list[Any]:
        """Draw the accordion. The host also calls this for the API's defaults."""
        # The box belongs to the page; what is drawn later for the API has none.
        prompt, self._prompt = self._prompt, None
        components = accordion.build(self.elem_id, prompt, is_img2img)
        named = list(zip(components, FIELDS, strict=True))
        # Send-to takes only labels, pasting from a picture without EBCA needs callables: each field has both.
        self.infotext_fields = [(component, infotext.sent(name)) for component, name in named]
        self.infotext_fields += [(component, infotext.pasted(name)) for component, name in named]
        self.paste_field_names = [infotext.sent(name) for name in FIELDS]
        return components

    def process(self, p: Any, *args: Any) -> None:
        """A job begins."""
        self._lifecycle.process(p, args)

    def before_process_batch(self, p: Any, *args: Any, **keywords: Any) -> None:
        """A batch begins."""
        self._lifecycle.before_process_batch(p, args, keywords["prompts"])

    def process_batch(self, p: Any, *args: Any, **keywords: Any) -> None:
        """The host has read the batch's prompts."""
        self._lifecycle.process_batch(p)

    def process_before_every_sampling(self, p: Any, *args: Any, **keywords: Any) -> None:
        """A sampling pass is about to begin."""
        self._lifecycle.process_before_every_sampling(p)

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        """The job is done."""
        self._lifecycle.postprocess(p, processed)

    def _found_prompt(self, component: Any) -> None:
        self._prompt = component.component


def register() -> None:
    """Register everything with the host; called by the file that the host loads, each time that it loads it."""
    script_callbacks.on_ui_settings(settings.add)
    script_callbacks.on_before_ui(axes.add)
    script_callbacks.on_before_ui(networks.add)
    script_callbacks.on_app_started(check.add)
