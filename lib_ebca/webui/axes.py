"""Axes of the X/Y/Z plot: every number of the accordion, its choices and the presets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from modules import scripts

from lib_ebca.language.plan import PRIORS, SCHEDULES
from lib_ebca.webui import concepts
from lib_ebca.webui.form import EDITS, INVERSIONS, PASSES, Form
from lib_ebca.webui.presets import PRESETS, applied

PREFIX = "[EBCA] "
_ATTRIBUTE = "ebca_axes"
_NUMBERS = {
    "attn": "Attention gamma",
    "norm": "Norm gamma",
    "start": "From",
    "until": "Until",
    "ratio": "Ratio",
    "concept_factor": "Concept factor",
    "subjects_scale": "Subjects scale",
    "subjects_until": "Subjects until",
}
_CHOICES = {
    "schedule": ("Schedule", SCHEDULES),
    "prior": ("Prior", PRIORS),
    "passes": ("Passes", PASSES),
    "inversion": ("Inversion", INVERSIONS),
}
_EDIT_NUMBERS = {
    "strength": "strength",
    "start": "from",
    "until": "until",
    "attn": "attention gamma",
    "norm": "norm gamma",
    "gamma_start": "gammas from",
    "gamma_until": "gammas until",
}


def add() -> None:
    """Add our axes to the host's script, unless they are there (the host's callback before the UI)."""
    for data in scripts.scripts_data:
        if data.script_class.__module__ in ("xyz_grid.py", "scripts.xyz_grid", "xyz_grid"):
            options = data.module.axis_options
            if not any(option.label.startswith(PREFIX) for option in options):
                options.extend(_options(data.module.AxisOption))
            return


def chosen(p: Any, form: Form) -> Form:
    """``form`` with the values of the plot's axes for this cell; an axis of ours switches the accordion on.

    Raises:
        PlanError: a value of the wrong kind.
    """
    values: Mapping[str, Any] = getattr(p, _ATTRIBUTE, {})
    if not values:
        return form
    form = form.having({"enabled": True})
    if "preset" in values:
        form = applied(form, values["preset"])
    return form.having({name: value for name, value in values.items() if name != "preset"})


def _options(axis: Callable[..., Any]) -> list[Any]:
    numbers = [(label, name) for name, label in _NUMBERS.items()]
    numbers += [
        (f"Edit {n} {label}", f"edit_{n}_{name}") for n in range(1, EDITS + 1) for name, label in _EDIT_NUMBERS.items()
    ]
    options = [axis(f"{PREFIX}{label}", float, _put(name)) for label, name in numbers]
    options += [axis(f"{PREFIX}Enabled", str, _put_switch, choices=lambda: ["True", "False"])]
    options += [axis(f"{PREFIX}Boosts", str, _put("boosts"))]
    options += [axis(f"{PREFIX}Subjects", str, _put("subjects"))]
    options += [axis(f"{PREFIX}Concept word", str, _put("concept_word"))]
    options += [axis(f"{PREFIX}Concept", str, _put("concept_name"), choices=concepts.names)]
    options += [axis(f"{PREFIX}Edit {n} prompt", str, _put(f"edit_{n}_text")) for n in range(1, EDITS + 1)]
    options += [axis(f"{PREFIX}Preset", str, _put("preset"), choices=lambda: list(PRESETS))]
    for name, (label, choices) in _CHOICES.items():
        options.append(axis(f"{PREFIX}{label}", str, _put(name), choices=_listing(choices)))
    return options


def _listing(choices: Sequence[str]) -> Callable[[], list[str]]:
    return lambda: list(choices)


def _put(name: str) -> Callable[[Any, Any, Any], None]:
    def apply(p: Any, value: Any, values: Any) -> None:
        # The host copies p shallowly for each cell: a dict of its own for each.
        setattr(p, _ATTRIBUTE, {**getattr(p, _ATTRIBUTE, {}), name: value})

    return apply


def _put_switch(p: Any, value: Any, values: Any) -> None:
    _put("enabled")(p, value == "True", values)
