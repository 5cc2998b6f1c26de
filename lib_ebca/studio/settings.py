"""What settings must fulfil, and what the loaded model fills in where they were left open."""

from __future__ import annotations

import dataclasses
import re

from lib_ebca.language.checks import MOST_COUNTED, meant, shortened
from lib_ebca.studio import samplers
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.loading import DTYPES, Model
from lib_ebca.studio.recipe import Settings
from lib_ebca.studio.values import LARGEST_GUIDANCE, LONGEST_SIDE, MOST_STEPS, finite, readable

_DEVICE = re.compile(r"(?:cpu|cuda|mps)(?::[0-9]{1,4})?")
_GRID = 8  # pixels; the rule of every Stable Diffusion pipeline


def checked(settings: Settings) -> Settings:
    """`settings`, or UserError for the first field that cannot be so. Loads nothing."""
    at_least("--steps", settings.steps, 1, MOST_STEPS)
    at_least("--clip-skip", settings.clip_skip, 1)
    if finite("--cfg", settings.guidance) < 1:
        raise UserError(f"--cfg is {settings.guidance:g}: it should be at least 1, which turns guidance off")
    if settings.guidance > LARGEST_GUIDANCE:
        raise UserError(f"--cfg is {settings.guidance:g}: it should be at most {LARGEST_GUIDANCE:g}, and 7.5 is usual")
    _on_grid("--width", settings.width)
    _on_grid("--height", settings.height)
    _no_directives(readable("--negative", settings.negative))
    if settings.dtype not in (None, *DTYPES):
        nearest = meant(settings.dtype, DTYPES)
        raise UserError(f"--dtype is {settings.dtype!r}: it should be one of {', '.join(DTYPES)}{nearest}")
    if settings.device is not None and not _DEVICE.fullmatch(settings.device):
        raise UserError(f"--device is {settings.device!r}: it should be cpu, cuda or mps")
    if settings.sampling not in samplers.SAMPLING:
        raise UserError(f"--sampling is {settings.sampling!r}: it should be one of {', '.join(samplers.SAMPLING)}")
    return _with_sampler(settings)


def completed(settings: Settings, model: Model) -> Settings:
    """`settings` with nothing left open. Raises UserError where they do not fit the model."""
    layers = model.pipe.text_encoder.config.num_hidden_layers
    if settings.clip_skip > layers:
        raise UserError(f"--clip-skip is {settings.clip_skip}: the model's text encoder has {layers} layers")
    if settings.sampler == "LCM" and model.scheduler_config.get("prediction_type") == "v_prediction":
        raise UserError("sampler LCM reads noise, and this model predicts a velocity: choose another, such as Euler a")
    width, height = settings.width or model.size[0], settings.height or model.size[1]
    if settings.hires is not None and settings.hires.side(max(width, height)) > LONGEST_SIDE:
        raise UserError(
            f"--hires is {settings.hires.scale:g}: of {width} x {height} it makes more than {LONGEST_SIDE} pixels"
        )
    return dataclasses.replace(
        settings,
        width=width,
        height=height,
        sampler=settings.sampler or _default(settings, model),
        device=settings.device or model.pipe.device.type,
        dtype=settings.dtype or str(model.pipe.unet.dtype).removeprefix("torch."),
    )


def _default(settings: Settings, model: Model) -> str:
    return samplers.WEBUI_DEFAULT if settings.sampling == samplers.WEBUI else samplers.default_for(model.pipe)


def _with_sampler(settings: Settings) -> Settings:
    if settings.noise not in samplers.NOISES:
        raise UserError(f"--noise is {settings.noise!r}: it should be one of {', '.join(samplers.NOISES)}")
    if settings.sampling == samplers.WEBUI:
        name, schedule = samplers.canonical_as_webui(settings.sampler or samplers.WEBUI_DEFAULT, settings.schedule)
        hires = None if settings.hires is None else settings.hires.checked()
        return dataclasses.replace(settings, sampler=name if settings.sampler else None, schedule=schedule, hires=hires)
    alone = {
        "--schedule": settings.schedule,
        "--noise": None if settings.noise == samplers.CPU else settings.noise,
        "--hires": None if settings.hires is None else settings.hires.scale,
    }
    for option, value in alone.items():
        if value is not None:
            raise UserError(f"{option} {value!r} goes with --sampling {samplers.WEBUI}: add it")
    if settings.sampler is None:
        return settings
    return dataclasses.replace(settings, sampler=samplers.canonical(settings.sampler))


def at_least(name: str, value: int, smallest: int, largest: int = MOST_COUNTED) -> int:
    """`value`, or UserError where it is smaller, or larger than anything that is meant."""
    if value < smallest:
        raise UserError(f"{name} is {value}: it should be a whole number of at least {smallest}")
    if value > largest:
        raise UserError(f"{name} is {shortened(str(value))}: it should be at most {largest}")
    return value


def _on_grid(name: str, value: int | None) -> None:
    if value is not None and (value < _GRID or value % _GRID):
        below = max(1, value // _GRID) * _GRID
        raise UserError(f"{name} is {value}: it should be a multiple of {_GRID}, such as {below} or {below + _GRID}")
    if value is not None and value > LONGEST_SIDE:
        raise UserError(f"{name} is {value}: it should be at most {LONGEST_SIDE}")


def _no_directives(negative: str) -> None:
    from lib_ebca.language.directives import parse

    parsed = parse(negative)
    if parsed.text != negative:
        raise UserError(
            f"--negative {negative!r} holds a directive: directives belong in the prompt "
            "(to take something away, give its <edit:...> a negative strength)"
        )
