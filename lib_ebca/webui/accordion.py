"""The accordion: the form's fields as gradio components, the same on gradio 3 and 4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from modules.ui_components import InputAccordion

from lib_ebca.language.plan import PRIORS, SCHEDULES
from lib_ebca.webui import concepts, presets, transfer
from lib_ebca.webui.form import EDITS, FIELDS, INVERSIONS, PASSES, ROWS, EditRow, Form

TITLE = "EBCA"
NARROW = 110
"""Pixels: what belongs to one edit stands in one line of the host's column."""


def build(elem_id: Callable[[str], str], prompt: Any | None, is_img2img: bool) -> list[Any]:
    """Draw the accordion and connect its buttons.

    Args:
        elem_id: makes the id of one of our components.
        prompt: the prompt box that edits are written into and read from; None draws no buttons for it.
        is_img2img: whether there is a picture to edit.

    Returns:
        The components in the order of the form's fields.
    """
    made: dict[str, Any] = {}
    default = Form()
    with InputAccordion(default.enabled, label=TITLE, elem_id=elem_id("enabled")) as enabled:
        made["enabled"] = enabled
        _update(made, default, elem_id)
        _edits(made, elem_id)
        write, read = _buttons(elem_id) if prompt is not None else (None, None)
        _concept(made, default, elem_id)
        _subjects(made, default, elem_id)
        _passes(made, default, elem_id)
        _photo(made, default, elem_id, is_img2img)
    components = [made[name] for name in FIELDS]
    if write is not None and read is not None:
        rows = [made[name] for name in ROWS]
        write.click(fn=transfer.written, inputs=[prompt, *rows], outputs=[prompt, *rows], show_progress=False)
        read.click(fn=transfer.read, inputs=[prompt, *rows], outputs=[prompt, *rows], show_progress=False)
    return components


def _update(made: dict[str, Any], default: Form, elem_id: Callable[[str], str]) -> None:
    gr.Markdown("### Context update", elem_id=elem_id("update_title"))
    with gr.Row():
        preset = gr.Dropdown(
            list(presets.PRESETS),
            value=None,
            label="Preset",
            info="SDXL has 70 cross-attention layers where SD 1 has 16: its steps are smaller; reasoned, not measured",
            elem_id=elem_id("preset"),
        )
        preset.do_not_save_to_config = True
        made["attn"] = gr.Number(default.attn, label="Attention gamma", elem_id=elem_id("attn"))
        made["norm"] = gr.Number(default.norm, label="Norm gamma", elem_id=elem_id("norm"))
    with gr.Row():
        made["start"] = _fraction(default.start, "From", elem_id("start"), "fraction of each pass's own steps")
        made["until"] = _fraction(default.until, "Until", elem_id("until"), "1 is the end of the pass")
    with gr.Row():
        made["schedule"] = gr.Dropdown(
            list(SCHEDULES), value=default.schedule, label="Schedule", elem_id=elem_id("schedule")
        )
        made["ratio"] = gr.Number(default.ratio, label="Ratio of linear and exp", elem_id=elem_id("ratio"))
        made["prior"] = gr.Dropdown(list(PRIORS), value=default.prior, label="Prior", elem_id=elem_id("prior"))
    made["boosts"] = gr.Textbox(
        default.boosts, label="Boosts", placeholder="shirt:2.5, crown:2", lines=1, elem_id=elem_id("boosts")
    )
    changed = [made[name] for name in ("attn", "norm", "start", "until", "schedule")]
    preset.change(fn=_preset, inputs=[preset], outputs=changed, show_progress=False)


def _preset(name: str | None) -> list[Any]:
    if name not in presets.PRESETS:
        return [gr.update()] * 5
    form = presets.applied(Form(), name)
    return [form.attn, form.norm, form.start, form.until, form.schedule]


def _edits(made: dict[str, Any], elem_id: Callable[[str], str]) -> None:
    gr.Markdown("### Edits", elem_id=elem_id("edits_title"))
    row = EditRow()
    for n in range(1, EDITS + 1):
        name = f"edit_{n}"
        with gr.Group(elem_id=elem_id(name), elem_classes=["ebca-edit"]):
            with gr.Row():
                made[f"{name}_on"] = gr.Checkbox(
                    row.on, label=f"Edit {n} on", elem_id=elem_id(f"{name}_on"), scale=1, min_width=90
                )
                made[f"{name}_text"] = gr.Textbox(
                    row.text,
                    label=f"Edit {n} prompt",
                    placeholder="watercolour painting",
                    lines=1,
                    elem_id=elem_id(f"{name}_text"),
                    scale=6,
                )
                made[f"{name}_strength"] = gr.Slider(
                    -2.0,
                    2.0,
                    value=row.strength,
                    step=0.05,
                    label=f"Edit {n} strength",
                    info="negative takes it away",
                    elem_id=elem_id(f"{name}_strength"),
                    scale=3,
                )
            with gr.Row():
                made[f"{name}_start"] = _fraction(
                    row.start, f"Edit {n} from", elem_id(f"{name}_start"), min_width=NARROW
                )
                made[f"{name}_until"] = _fraction(
                    row.until, f"Edit {n} until", elem_id(f"{name}_until"), min_width=NARROW
                )
                made[f"{name}_attn"] = gr.Number(
                    row.attn, label=f"Edit {n} attention gamma", elem_id=elem_id(f"{name}_attn"), min_width=NARROW
                )
                made[f"{name}_norm"] = gr.Number(
                    row.norm, label=f"Edit {n} norm gamma", elem_id=elem_id(f"{name}_norm"), min_width=NARROW
                )
                remove = gr.Button(
                    "Remove",
                    size="sm",
                    elem_id=elem_id(f"{name}_remove"),
                    elem_classes=["ebca-remove"],
                    min_width=NARROW,
                )
        fields = [made[each] for each in FIELDS if each.startswith(f"{name}_")]
        remove.click(fn=_emptied, inputs=[], outputs=fields, show_progress=False)


def _emptied() -> list[Any]:
    row = EditRow()
    return [row.on, row.text, row.strength, row.start, row.until, row.attn, row.norm]


def _buttons(elem_id: Callable[[str], str]) -> Sequence[Any]:
    with gr.Row():
        gr.Button("Add an edit", elem_id=elem_id("add_edit"))
        write = gr.Button("Write edits into the prompt", elem_id=elem_id("write_edits"))
        read = gr.Button("Read edits from the prompt", elem_id=elem_id("read_edits"))
    return write, read


def _subjects(made: dict[str, Any], default: Form, elem_id: Callable[[str], str]) -> None:
    gr.Markdown("### Subjects", elem_id=elem_id("subjects_title"))
    with gr.Row():
        made["subjects"] = gr.Textbox(
            default.subjects,
            label="Subjects that have to be there",
            placeholder="cat, dog",
            info="words of the prompt, or * for every noun; empty is off",
            lines=1,
            elem_id=elem_id("subjects"),
        )
        made["subjects_scale"] = gr.Number(
            default.subjects_scale, label="Subjects' step size", elem_id=elem_id("subjects_scale")
        )
        made["subjects_until"] = _fraction(default.subjects_until, "Subjects until", elem_id("subjects_until"))


def _concept(made: dict[str, Any], default: Form, elem_id: Callable[[str], str]) -> None:
    gr.Markdown("### Concepts", elem_id=elem_id("concepts_title"))
    with gr.Row():
        made["concept_word"] = gr.Textbox(
            default.concept_word,
            label="Concept's word",
            placeholder="rose-colored",
            info="more, and adjusting, in the prompt: <concept:rose-colored:Color=2:Plants=-1>",
            lines=1,
            elem_id=elem_id("concept_word"),
        )
        made["concept_name"] = gr.Dropdown(
            concepts.names(),
            value=default.concept_name,
            label="Concept",
            allow_custom_value=True,
            elem_id=elem_id("concept_name"),
        )
        made["concept_factor"] = gr.Slider(
            -2.0,
            4.0,
            value=default.concept_factor,
            step=0.1,
            label="Concept's factor",
            elem_id=elem_id("concept_factor"),
        )


def _passes(made: dict[str, Any], default: Form, elem_id: Callable[[str], str]) -> None:
    gr.Markdown("### Passes and records", elem_id=elem_id("passes_title"))
    with gr.Row():
        made["passes"] = gr.Dropdown(list(PASSES), value=default.passes, label="Act in", elem_id=elem_id("passes"))
        made["energies"] = gr.Checkbox(default.energies, label="Record energies", elem_id=elem_id("energies"))
        made["maps"] = gr.Checkbox(default.maps, label="Record attention maps", elem_id=elem_id("maps"))


def _photo(made: dict[str, Any], default: Form, elem_id: Callable[[str], str], is_img2img: bool) -> None:
    with gr.Row(visible=is_img2img):
        made["photo"] = gr.Checkbox(
            default.photo,
            label="Edit this picture",
            info="invert it under its caption, the prompt, as far as the denoising strength says; samples with DDIM",
            elem_id=elem_id("photo"),
        )
        made["inversion"] = gr.Dropdown(
            list(INVERSIONS), value=default.inversion, label="Inversion", elem_id=elem_id("inversion")
        )


def _fraction(value: float, label: str, elem_id: str, info: str | None = None, min_width: int = 160) -> Any:
    return gr.Slider(0.0, 1.0, value=value, step=0.01, label=label, info=info, elem_id=elem_id, min_width=min_width)
