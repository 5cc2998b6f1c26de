"""The accordion: the form's fields as gradio components, the same on gradio 3 and 4."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from modules.ui_components import InputAccordion

from lib_ebca.language.plan import PRIORS, SCHEDULES
from lib_ebca.webui import concepts, hints, presets, transfer
from lib_ebca.webui.form import EDITS, FIELDS, INVERSIONS, PASSES, ROWS, EditRow, Form

TITLE = "EBCA"
NARROW = 90
"""Pixels: what belongs together stands in one line of the host's column."""

Id = Callable[[str], str]


def build(elem_id: Id, prompt: Any | None, is_img2img: bool) -> list[Any]:
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
        preset = _words(made, default, elem_id)
        write, read = _edits(made, elem_id, prompt is not None)
        _concepts(made, default, elem_id)
        with gr.Accordion("Advanced", open=False, elem_id=elem_id("advanced"), elem_classes=["ebca-advanced"]):
            _steps(made, default, elem_id)
            _passes(made, default, elem_id)
            _photo(made, default, elem_id, is_img2img)
    _shown(preset, made)
    if write is not None and read is not None:
        rows = [made[name] for name in ROWS]
        write.click(fn=transfer.written, inputs=[prompt, *rows], outputs=[prompt, *rows], show_progress=False)
        read.click(fn=transfer.read, inputs=[prompt, *rows], outputs=[prompt, *rows], show_progress=False)
    return [made[name] for name in FIELDS]


@contextmanager
def _part(name: str, purpose: str, page: str, elem_id: Id) -> Iterator[None]:
    """One of the three parts: its name, what it is for and where to read more at the left, fields beside them."""
    told = (
        f"<b>{name}</b><br><span>{purpose}</span> "
        f'<a href="ebca/docs/{page}" target="_blank" title="docs/{page}.md">more</a>'
    )
    with gr.Row(elem_id=elem_id(name.lower()), elem_classes=["ebca-part"]):
        with gr.Column(scale=2, min_width=NARROW, elem_classes=["ebca-purpose"]):
            gr.HTML(told, elem_id=elem_id(f"{name.lower()}_title"))
        with gr.Column(scale=10, min_width=NARROW):
            yield


def _words(made: dict[str, Any], default: Form, elem_id: Id) -> Any:
    with _part("Words", "how hard the picture pulls at the prompt's words", "webui", elem_id):
        with gr.Row():
            preset = gr.Dropdown(
                [*presets.PRESETS, presets.OWN],
                value=presets.on(default.attn, default.norm),
                label="Preset",
                elem_id=elem_id("preset"),
                min_width=NARROW,
            )
            preset.do_not_save_to_config = True
            made["strength"] = gr.Slider(
                0.0,
                2.0,
                value=default.strength,
                step=0.05,
                label="Strength",
                elem_id=elem_id("strength"),
                min_width=NARROW,
            )
            made["boosts"] = gr.Textbox(
                default.boosts,
                label="Boosts",
                placeholder="shirt:2.5",
                lines=1,
                elem_id=elem_id("boosts"),
                min_width=NARROW,
            )
            made["subjects_on"] = gr.Checkbox(
                default.subjects_on,
                label="Subjects on",
                elem_id=elem_id("subjects_on"),
                elem_classes=["ebca-switch"],
                scale=0,
                min_width=40,
            )
            made["subjects"] = gr.Textbox(
                default.subjects,
                label="Subjects",
                placeholder="cat, dog",
                lines=1,
                elem_id=elem_id("subjects"),
                min_width=NARROW,
            )
        gr.HTML(hints.XL, elem_id=elem_id("xl"), elem_classes=["ebca-xl"])
    return preset


def _shown(preset: Any, made: dict[str, Any]) -> None:
    """The preset that is on follows the step sizes, and they follow the one that is chosen."""
    sizes = [made["attn"], made["norm"]]
    changed = [*sizes, made["start"], made["until"], made["schedule"]]
    preset.input(fn=_preset, inputs=[preset], outputs=changed, show_progress=False)
    for size in sizes:
        size.change(fn=presets.on, inputs=sizes, outputs=[preset], show_progress=False)


def _preset(name: str | None) -> list[Any]:
    if name not in presets.PRESETS:
        return [gr.update()] * 5
    form = presets.applied(Form(), name)
    return [form.attn, form.norm, form.start, form.until, form.schedule]


def _edits(made: dict[str, Any], elem_id: Id, with_buttons: bool) -> Sequence[Any]:
    with _part("Edits", "prompts that are added, or below 0 taken away", "editing", elem_id):
        for n in range(1, EDITS + 1):
            _edit(made, f"edit_{n}", n, elem_id)
        if not with_buttons:
            return None, None
        with gr.Row(elem_classes=["ebca-buttons"]):
            gr.Button("Add an edit", size="sm", elem_id=elem_id("add_edit"), min_width=NARROW)
            write = gr.Button("Write edits into the prompt", size="sm", elem_id=elem_id("write_edits"))
            read = gr.Button("Read edits from the prompt", size="sm", elem_id=elem_id("read_edits"))
    return write, read


def _edit(made: dict[str, Any], name: str, n: int, elem_id: Id) -> None:
    row = EditRow()
    with gr.Group(elem_id=elem_id(name), elem_classes=["ebca-edit"]):
        with gr.Row(elem_classes=["ebca-line"]):
            made[f"{name}_on"] = gr.Checkbox(
                row.on, label=f"Edit {n} on", elem_id=elem_id(f"{name}_on"), scale=0, min_width=40
            )
            made[f"{name}_text"] = gr.Textbox(
                row.text,
                label=f"Edit {n} prompt",
                placeholder="watercolour painting",
                lines=1,
                elem_id=elem_id(f"{name}_text"),
                scale=6,
                min_width=NARROW,
            )
            made[f"{name}_strength"] = gr.Slider(
                -2.0,
                2.0,
                value=row.strength,
                step=0.05,
                label=f"Edit {n} strength",
                elem_id=elem_id(f"{name}_strength"),
                scale=5,
                min_width=NARROW,
            )
            gr.Button(
                "⋯",
                size="sm",
                elem_id=elem_id(f"{name}_more"),
                elem_classes=["ebca-open"],
                scale=0,
                min_width=40,
            )
        with gr.Row(elem_classes=["ebca-more"]):
            for field, label in (("start", "from"), ("until", "until")):
                made[f"{name}_{field}"] = _fraction(
                    getattr(row, field), f"Edit {n} {label}", elem_id(f"{name}_{field}")
                )
            for field, label in (("attn", "attention gamma"), ("norm", "norm gamma")):
                made[f"{name}_{field}"] = gr.Number(
                    getattr(row, field), label=f"Edit {n} {label}", elem_id=elem_id(f"{name}_{field}"), min_width=NARROW
                )
            for field, label in (("gamma_start", "gammas from"), ("gamma_until", "gammas until")):
                made[f"{name}_{field}"] = gr.Textbox(
                    "",
                    label=f"Edit {n} {label}",
                    placeholder="as the edit",
                    lines=1,
                    elem_id=elem_id(f"{name}_{field}"),
                    min_width=NARROW,
                )
            remove = gr.Button("Remove", size="sm", elem_id=elem_id(f"{name}_remove"), min_width=NARROW)
    fields = [made[f"{name}_{field.name}"] for field in dataclasses.fields(EditRow)]
    remove.click(fn=_emptied, inputs=[], outputs=fields, show_progress=False)


def _emptied() -> list[Any]:
    return list(dataclasses.astuple(EditRow()))


def _concepts(made: dict[str, Any], default: Form, elem_id: Id) -> None:
    with _part("Concepts", "one side of what a word means, more or less", "head-relevance", elem_id), gr.Row():
        made["concept_word"] = gr.Textbox(
            default.concept_word,
            label="Concept's word",
            placeholder="rose-colored",
            lines=1,
            elem_id=elem_id("concept_word"),
            min_width=NARROW,
        )
        made["concept_name"] = gr.Dropdown(
            concepts.names(),
            value=default.concept_name,
            label="Concept",
            allow_custom_value=True,
            elem_id=elem_id("concept_name"),
            min_width=NARROW,
        )
        made["concept_factor"] = gr.Slider(
            -2.0,
            4.0,
            value=default.concept_factor,
            step=0.1,
            label="Concept's factor",
            elem_id=elem_id("concept_factor"),
            min_width=NARROW,
        )


def _steps(made: dict[str, Any], default: Form, elem_id: Id) -> None:
    with gr.Row():
        made["attn"] = gr.Number(default.attn, label="Attention gamma", elem_id=elem_id("attn"), min_width=NARROW)
        made["norm"] = gr.Number(default.norm, label="Norm gamma", elem_id=elem_id("norm"), min_width=NARROW)
        made["start"] = _fraction(default.start, "From", elem_id("start"))
        made["until"] = _fraction(default.until, "Until", elem_id("until"))
        made["control"] = gr.Checkbox(
            default.control, label="Negative gammas (control)", elem_id=elem_id("control"), min_width=NARROW
        )
    with gr.Row():
        made["schedule"] = gr.Dropdown(
            list(SCHEDULES),
            value=default.schedule,
            label="Schedule",
            elem_id=elem_id("schedule"),
            min_width=NARROW,
        )
        made["ratio"] = gr.Number(
            default.ratio, label="Ratio of linear and exp", elem_id=elem_id("ratio"), min_width=NARROW
        )
        made["prior"] = gr.Dropdown(
            list(PRIORS), value=default.prior, label="Prior", elem_id=elem_id("prior"), min_width=NARROW
        )
        made["subjects_scale"] = gr.Number(
            default.subjects_scale, label="Subjects' step size", elem_id=elem_id("subjects_scale"), min_width=NARROW
        )
        made["subjects_until"] = _fraction(default.subjects_until, "Subjects until", elem_id("subjects_until"))


def _passes(made: dict[str, Any], default: Form, elem_id: Id) -> None:
    with gr.Row():
        made["passes"] = gr.Dropdown(list(PASSES), value=default.passes, label="Act in", elem_id=elem_id("passes"))
        made["energies"] = gr.Checkbox(default.energies, label="Record energies", elem_id=elem_id("energies"))
        made["maps"] = gr.Checkbox(default.maps, label="Record attention maps", elem_id=elem_id("maps"))


def _photo(made: dict[str, Any], default: Form, elem_id: Id, is_img2img: bool) -> None:
    with gr.Row(visible=is_img2img):
        made["photo"] = gr.Checkbox(default.photo, label="Edit this picture", elem_id=elem_id("photo"))
        made["inversion"] = gr.Dropdown(
            list(INVERSIONS), value=default.inversion, label="Inversion", elem_id=elem_id("inversion")
        )


def _fraction(value: float, label: str, elem_id: str) -> Any:
    return gr.Slider(0.0, 1.0, value=value, step=0.01, label=label, elem_id=elem_id, min_width=NARROW)
