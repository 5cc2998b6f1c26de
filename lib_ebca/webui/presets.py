"""Published settings of the context update, by the kind of model and task."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lib_ebca.webui.form import Form


@dataclass(frozen=True)
class Preset:
    """Step sizes, and why they are what they are."""

    attn: float
    norm: float
    why: str


PRESETS = {
    "SD 1 text-to-image": Preset(0.01, 0.02, "the paper's values for several subjects in one prompt"),
    "SD 1 inpainting": Preset(0.025, 0.025, "the paper's values for inpainting"),
    "SDXL": Preset(
        0.002,
        0.004,
        "SDXL updates the context in 70 layers where SD 1 does in 16: steps about 70/16 times smaller "
        "should move it as far (reasoned, not measured)",
    ),
    "off": Preset(0.0, 0.0, "the prompt's context stays as it is; edits still act"),
}

OWN = "your own"
"""What the page shows where no preset is on."""


def applied(form: Form, name: str) -> Form:
    """``form`` with the step sizes of a preset, unscheduled. Raises KeyError."""
    preset = PRESETS[name]
    return replace(form, attn=preset.attn, norm=preset.norm, start=0.0, until=1.0, schedule="constant")


def on(attn: float | None, norm: float | None) -> str:
    """The name of the preset with these step sizes, or OWN."""
    named = (name for name, preset in PRESETS.items() if (preset.attn, preset.norm) == (attn, norm))
    return next(named, OWN)
