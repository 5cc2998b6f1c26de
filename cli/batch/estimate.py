"""What a run will cost: evaluations of the UNet, counted; seconds, measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lib_ebca.reading import json_in
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import INDEX, SCHEDULER, locate
from lib_ebca.studio.samplers import DEFAULT, default_of

from .items import Item
from .schema import EditPhoto, Img2img, Inpaint

_XL = "StableDiffusionXL"


def evaluations(item: Item) -> int:
    """How often the UNet runs for the picture alone (with guidance on two rows each time); of an edit, at most."""
    job, steps = item.job, item.settings.steps
    if isinstance(job, EditPhoto):
        # An inversion asks once to begin with, and at each step up to `iterations` times; the published one asks at
        # each step but the last.
        return steps + (1 + steps * job.iterations if job.inversion == "fixed-point" else steps - 1)
    if isinstance(job, Inpaint) and job.repaint:
        jumps = len(range(0, steps - job.jump_length, job.jump_length))
        return steps + jumps * (job.jump_count - 1) * job.jump_length
    sampler = item.settings.sampler or own_sampler(item.settings.model)
    strength = job.strength if isinstance(job, Img2img | Inpaint) else 1.0
    # Heun looks twice at all steps but the last, PNDM twice at the second; a partial pass leaves out the first steps.
    whole = {"Heun": 2 * steps - 1, "PLMS": steps + (steps > 1)}.get(sampler, steps)
    return whole - (steps - int(steps * strength)) * (2 if sampler == "Heun" else 1)


def own_sampler(model: str) -> str:
    """The sampler of a model that was not given one, as far as the model's folder says what it is."""
    try:
        folder = locate(model).path
    except UserError:
        folder = None
    if folder is None:
        return DEFAULT
    named = _facts(folder / INDEX).get("_class_name", "")
    return default_of(str(named).startswith(_XL), _facts(folder / SCHEDULER).get("prediction_type"))


def _facts(path: Path) -> dict[str, Any]:
    try:
        return dict(json_in(path))
    except (OSError, ValueError, TypeError):
        return {}


def tasks(items: Iterable[Item]) -> Counter[str]:
    """How many pictures of each task."""
    return Counter(item.job.task for item in items)


def in_words(seconds: float) -> str:
    """A length of time to two places that matter."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}s"
    return f"{seconds:.0f} seconds"
