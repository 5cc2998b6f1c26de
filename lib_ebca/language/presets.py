"""The settings of the published examples, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lib_ebca.language.checks import meant
from lib_ebca.language.excite import Excite
from lib_ebca.language.plan import ContextUpdate, Edit, Plan

PAPER = "Park et al., NeurIPS 2023, arXiv 2306.09869"
SUBJECTS = "Chefer et al., SIGGRAPH 2023, arXiv 2301.13826"


@dataclass(frozen=True)
class Preset:
    """One published task.

    Attributes:
        name: as it is asked for.
        task: the command that it belongs to: txt2img, edit or inpaint.
        plan: its update, edits and subjects.
        prompt: the example's prompt or caption.
        drift: whether its numbers were found with editorial contexts that drift over the pass.
        source: where the numbers are from.
    """

    name: str
    task: str
    plan: Plan
    prompt: str
    source: str
    drift: bool = False


_ALL = (
    Preset(
        "multi-concept",
        "txt2img",
        # The published tables end on a zero, which only PNDM's one evaluation more reaches.
        Plan(ContextUpdate(0.01, 0.02, schedule="reverse_step")),
        "A lion with a crown",
        f"{PAPER}, multi-concept generation; gammas of the authors' example 'A lion with a crown'",
    ),
    Preset(
        "stylise",
        "txt2img",
        Plan(None, (Edit("Water colors, Watercolor painting, Watercolor", 1.1, 0.2, attn=4e-4, norm=4e-4),)),
        "a house at a lake",
        f"{PAPER}, compositional generation; the authors' example of a stylised house at a lake",
        drift=True,
    ),
    Preset(
        "cat-and-dog",
        "txt2img",
        Plan(excite=(Excite("cat"), Excite("dog"))),
        "a cat and a dog",
        f"{SUBJECTS}; the authors' example: the tokens 2 and 5, seed 0",
    ),
    Preset(
        "cat-to-dog",
        "edit",
        Plan(None, (Edit("dog", 0.75, 0.5, attn=6e-4, norm=6e-4), Edit("cat", -0.65, 0.5, attn=5e-4, norm=5e-4))),
        "a cat",
        f"{PAPER}, real image editing; the authors' settings for cat to dog",
        drift=True,
    ),
    Preset(
        "horse-to-zebra",
        "edit",
        Plan(
            None, (Edit("zebra", 0.6, 0.3, attn=5e-4, norm=5e-4), Edit("brown horse", -0.5, 0.3, attn=4e-4, norm=4e-4))
        ),
        "a brown horse",
        f"{PAPER}, real image editing; the authors' settings for horse to zebra",
        drift=True,
    ),
    Preset(
        "faces",
        "edit",
        Plan(None, (Edit("a goat, a photography of a goat", 0.6, 0.35, attn=1e-3, norm=1e-3, gamma_start=0.3),)),
        "a photography of a cat",
        f"{PAPER}, real image editing; the authors' settings for animal faces (AFHQ)",
        drift=True,
    ),
    Preset(
        "inpaint",
        "inpaint",
        Plan(ContextUpdate(0.025, 0.025)),
        "teddy bear",
        f"{PAPER}, text-guided inpainting; the authors' settings",
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})


# img2img draws from a prompt as txt2img does, and its windows count the same pass.
_SERVED_BY = {"img2img": "txt2img"}


class PresetError(ValueError):
    """There is no preset of that name, or it is of another task; the sentence lists those that would do."""


def preset(name: str, task: str | None = None) -> Preset:
    """The preset of that name.

    Args:
        name: in any case.
        task: the command that is to use it; None for any.

    Raises:
        PresetError: there is none, or none for that task.
    """
    found = PRESETS.get(name.strip().lower())
    fitting = [each.name for each in PRESETS.values() if task is None or each.task == _SERVED_BY.get(task, task)]
    if found is None:
        raise PresetError(f"preset is {name!r}: it should be one of {', '.join(fitting)}{meant(name, fitting)}")
    if found.name not in fitting:
        raise PresetError(
            f"preset is {name!r}, which is for `ebca {found.task}`: for {task} it should be one of {', '.join(fitting)}"
        )
    return found
