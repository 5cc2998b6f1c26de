"""The settings page, and what is set there."""

from __future__ import annotations

import gradio as gr
from modules import shared

DIRECTIVES = "ebca_directives_without_checkbox"
CHIPS = "ebca_word_chips"
CHIP_FACTOR = "ebca_chip_factor"
VECTORS = "ebca_head_vectors"


def add() -> None:
    """Put our section onto the settings page (the host's callback for it)."""
    section = ("ebca", "EBCA")
    options = {
        DIRECTIVES: shared.OptionInfo(
            True, "Directives in the prompt act without the checkbox", gr.Checkbox, section=section
        ).info("<edit:…>, <bcu:…>, <boost:…> and the other directives also act while the EBCA accordion is closed"),
        CHIPS: shared.OptionInfo(True, "Word chips under the prompt", gr.Checkbox, section=section)
        .info("click a word to boost it")
        .needs_reload_ui(),
        CHIP_FACTOR: shared.OptionInfo(
            2.5,
            "Factor of a boost made by a word chip",
            gr.Slider,
            {"minimum": 1, "maximum": 5, "step": 0.1},
            section=section,
        ),
        VECTORS: shared.OptionInfo("", "File of head relevance vectors", gr.Textbox, section=section).info(
            "for <concept:…>; empty: the published ones of SD 1 and SDXL; others are measured by ebca heads measure"
        ),
    }
    for name, option in options.items():
        shared.opts.add_option(name, option)


def directives_act() -> bool:
    """Whether directives act while the accordion is off."""
    return bool(getattr(shared.opts, DIRECTIVES, True))


def chip_factor() -> float:
    """The factor of a boost made by a word chip."""
    return float(getattr(shared.opts, CHIP_FACTOR, 2.5))


def vectors_file() -> str:
    """The file of head relevance vectors; empty for the published ones."""
    return str(getattr(shared.opts, VECTORS, "") or "").strip()
