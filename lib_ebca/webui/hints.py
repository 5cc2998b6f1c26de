"""What the page says of each field when the pointer rests on it, and the pages of documentation it links to."""

from __future__ import annotations

from pathlib import Path

from lib_ebca.webui.form import FIELDS

DOCS = Path(__file__).resolve().parents[2] / "docs"

_EDIT = {
    "on": "Unticked, this edit does nothing and is kept.",
    "text": "What is added to the picture, or taken away: a prompt of its own.",
    "strength": "How much of it: about 0.5 adds, below 0 takes away, 0 does nothing.",
    "start": "From which part of the pass's own steps on this edit acts: late ones keep the composition.",
    "until": "Until which part of the pass's own steps this edit acts; 1 is the end.",
    "attn": "Step size with which the edit's own words follow the picture; 0 leaves them as they are.",
    "norm": "Step size that holds the edit's words near where they began.",
    "gamma_start": "From which part of the pass's own steps on these step sizes count; empty is as the edit itself.",
    "gamma_until": "Until which part of the pass's own steps these step sizes count; empty is as the edit itself.",
}
_HINTS = {
    "enabled": "Lets this form act. Directives in the prompt act without it (Settings, EBCA).",
    "attn": "Step size with which the words move towards what the picture shows of them. The paper has 0.01.",
    "norm": "Step size that holds the words near where they began. The paper has 0.02.",
    "start": "From which part of the pass's own steps on the words are moved: 0.2 is after a fifth of them.",
    "until": "Until which part of the pass's own steps the words are moved; 1 is the end.",
    "schedule": "How the steps grow or fall over the pass.",
    "ratio": "Of a linear or exponential schedule: the last step over the first one.",
    "prior": "What holds the words back: as in the paper, or each word towards its own beginning.",
    "boosts": "Words of the prompt that are to weigh more, with a factor: shirt:2.5, crown#2:2 for the second crown.",
    "passes": "In which pass of hires fix this form acts.",
    "energies": "After the picture comes a plot of the energy in every layer and step.",
    "maps": "After the picture come maps of where each word looked.",
    "photo": "Inverts the picture under its caption, the prompt, as far as the denoising strength says; DDIM samples.",
    "inversion": "The fixed-point one comes back to the picture more exactly; the published one is quicker.",
    "concept_word": "A word of the prompt; several, in the prompt itself: <concept:rose-colored:Color=2:Plants=-1>.",
    "concept_name": "Which side of the word's meaning: those attention heads that care for it attend more to it.",
    "concept_factor": "Above 1 strengthens, between 0 and 1 weakens, 1 does nothing.",
    "subjects": "Words of the prompt that have to be there, or * for every noun: cat, dog. Takes more time.",
    "subjects_on": "Unticked, nothing is done for these subjects, and their words are kept.",
    "subjects_scale": "How far the picture is moved in each of the early steps until its subjects are there.",
    "subjects_until": "Until which part of the pass's own steps subjects are looked after.",
    "strength": "Scales the preset's steps: 0 is off, 1 as published, 2 twice as strong.",
    "control": "Allows negative step sizes, which drive the picture away from its words: for comparisons.",
}
PRESET = "Published step sizes by the kind of model, and which of them is on."
XL = (
    "SDXL updates the words in 70 layers where SD 1 does in 16, so its preset's steps are smaller by as much: "
    "reasoned, not measured."
)


def hints() -> dict[str, str]:
    """A sentence for each of the form's fields and for "preset"."""
    found = {"preset": PRESET}
    for name in FIELDS:
        _, _, edited = name.partition("edit_")
        found[name] = _EDIT[edited.split("_", 1)[1]] if edited else _HINTS[name]
    return found


def page(name: str) -> str | None:
    """The text of a page of documentation, or None if there is none of that name."""
    known = {path.stem: path for path in DOCS.glob("*.md")}
    return known[name].read_text(encoding="utf-8") if name in known else None
