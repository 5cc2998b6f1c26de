"""Samplers by the names that WebUI users know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lib_ebca.language.checks import meant, shortened
from lib_ebca.studio.errors import UserError

# Latents have no bounds to be clipped to, and the published runs keep the last alpha of the table.
_LATENTS: dict[str, Any] = {"clip_sample": False, "set_alpha_to_one": False}
# Said outright, because a model's own configuration may ask for the other.
_EVEN: dict[str, Any] = {"use_karras_sigmas": False}
_KARRAS: dict[str, Any] = {"use_karras_sigmas": True}
_PLUS_PLUS: dict[str, Any] = {"algorithm_type": "dpmsolver++", "solver_order": 2}


@dataclass(frozen=True)
class Sampler:
    """A scheduler class of diffusers and how it is set up to be what the WebUI means by `name`."""

    name: str
    scheduler: str
    spacing: str
    options: dict[str, Any] = field(default_factory=dict)


_ALL = (
    Sampler("Euler", "EulerDiscreteScheduler", "linspace", _EVEN),
    Sampler("Euler a", "EulerAncestralDiscreteScheduler", "linspace"),
    Sampler("Heun", "HeunDiscreteScheduler", "linspace", _EVEN),
    Sampler("DPM++ 2M", "DPMSolverMultistepScheduler", "linspace", {**_PLUS_PLUS, **_EVEN}),
    Sampler("DPM++ 2M Karras", "DPMSolverMultistepScheduler", "linspace", {**_PLUS_PLUS, **_KARRAS}),
    Sampler("DDIM", "DDIMScheduler", "leading", _LATENTS),
    Sampler("PLMS", "PNDMScheduler", "leading", {"set_alpha_to_one": False, "skip_prk_steps": True}),
    Sampler("UniPC", "UniPCMultistepScheduler", "linspace", _EVEN),
)
_BY_NAME = {sampler.name.casefold(): sampler for sampler in _ALL}
_ALIASES = {"pndm": "plms"}
DIFFUSERS, WEBUI = SAMPLING = ("diffusers", "webui")
"""Whose samplers, noise and rounding: those of the published results, or those of the WebUI."""

AUTOMATIC = "Automatic"
WEBUI_NAMES = (
    *("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a", "Euler"),
    *("Heun", "DPM2", "DPM2 a", "LCM", "DDIM", "PLMS", "UniPC"),
)
WEBUI_SCHEDULES = (
    *(AUTOMATIC, "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal"),
    *("Align Your Steps", "Simple", "Normal", "DDIM", "Beta"),
)
"""Of :mod:`lib_ebca.hosts.webui_samplers`, here without what they need."""

CPU, NV = NOISES = ("cpu", "nv")
"""Whose numbers the noise is made of: a CPU's, or those that an NVIDIA GPU gives, which are computed here."""

DEFAULT = "PLMS"
"""With which the published results were made."""

WEBUI_DEFAULT = "DPM++ 2M"
"""The WebUI's own."""

NAMES = tuple(sampler.name for sampler in _ALL)


def is_known(name: str) -> bool:
    """Whether `canonical` knows the name."""
    return _key(name) in _BY_NAME


def _key(name: str) -> str:
    key = " ".join(name.split()).casefold()
    return _ALIASES.get(key, key)


def canonical(name: str) -> str:
    """The name as the WebUI writes it, whatever its case. Raises UserError for an unknown one, listing the known."""
    sampler = _BY_NAME.get(_key(name))
    if sampler is None:
        nearest = meant(name, NAMES)
        raise UserError(
            f"sampler {shortened(name)!r} is not known{nearest}: choose one of {', '.join(NAMES)} (PNDM is PLMS)"
        )
    return sampler.name


def with_schedule(name: str) -> tuple[str, str | None]:
    """A sampler of `NAMES` and its schedule type as two names of the WebUI's; None where the WebUI has no choice."""
    if name.endswith(" Karras"):
        return name.removesuffix(" Karras"), "Karras"
    return name, None if name in ("DDIM", "PLMS", "UniPC") else "Uniform"


def canonical_as_webui(name: str, schedule: str | None) -> tuple[str, str]:
    """Sampler and schedule type as the WebUI writes them; the older 'DPM++ 2M Karras' names both in one.

    Raises UserError for what is not known, listing the known.
    """
    words, key = name.split(), (schedule or AUTOMATIC).casefold()
    by_name = {each.casefold(): each for each in WEBUI_NAMES}
    by_schedule = {each.casefold(): each for each in WEBUI_SCHEDULES}
    sampler = _ALIASES.get(" ".join(words).casefold(), " ".join(words).casefold())
    if sampler not in by_name and words and schedule is None:
        sampler, key = " ".join(words[:-1]).casefold(), words[-1].casefold()
    if sampler not in by_name or (schedule is None and key not in by_schedule):
        nearest = meant(name, WEBUI_NAMES)
        raise UserError(
            f"sampler {shortened(name)!r} is not one of the WebUI's that are here{nearest}: {', '.join(WEBUI_NAMES)}"
        )
    if key not in by_schedule:
        nearest = meant(schedule or "", WEBUI_SCHEDULES)
        raise UserError(
            f"schedule {shortened(schedule or '')!r} is not known{nearest}: choose one of {', '.join(WEBUI_SCHEDULES)}"
        )
    return by_name[sampler], by_schedule[key]


def default_of(xl: bool, predicts: str | None) -> str:
    """DEFAULT, but Euler for SDXL, which was released with it, and DDIM where a velocity is predicted.

    diffusers' PLMS averages what the last steps predicted. That is right for noise; a velocity has another scale at
    every step, and guided pictures fall apart.
    """
    if xl:
        return "Euler"
    return "DDIM" if predicts == "v_prediction" else DEFAULT


def default_for(pipe: Any) -> str:
    """The sampler for a loaded pipeline that was given none."""
    return default_of(hasattr(pipe, "text_encoder_2"), pipe.scheduler.config.get("prediction_type"))


def scheduler_for(name: str, config: Any) -> Any:
    """A new scheduler of diffusers for the model whose scheduler has `config` (betas, prediction type, ...)."""
    import diffusers

    sampler = _BY_NAME[canonical(name).casefold()]
    # A model made for trailing steps (zero terminal SNR) is broken by any other spacing.
    spacing = "trailing" if config.get("timestep_spacing") == "trailing" else sampler.spacing
    return getattr(diffusers, sampler.scheduler).from_config(
        config, timestep_spacing=spacing, steps_offset=config.get("steps_offset", 1), **sampler.options
    )
