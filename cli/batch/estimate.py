"""What a run will cost: evaluations of the UNet, counted; seconds, measured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from cli.batch.items import Item
from cli.batch.schema import EditPhoto, Img2img, Inpaint
from cli.errors import UserError
from cli.locate import INDEX, locate

_XL = "StableDiffusionXL"


def evaluations(item: Item) -> int:
    """How often the UNet runs for the picture alone (with guidance on two rows each time); of an edit, at most."""
    job, steps = item.job, item.settings.steps
    if isinstance(job, EditPhoto):
        # An inversion asks at each of its steps up to `iterations` times; the published one always once.
        return steps + steps * (job.iterations if job.inversion == "fixed-point" else 1)
    if isinstance(job, Inpaint) and job.repaint:
        jumps = len(range(0, steps - job.jump_length, job.jump_length))
        return steps + jumps * (job.jump_count - 1) * job.jump_length
    sampler = item.settings.sampler or _own_sampler(item.settings.model)
    if isinstance(job, Img2img | Inpaint):
        return _of_sampler(sampler, int(steps * job.strength), job.strength < 1)
    return _of_sampler(sampler, steps, False)


def _of_sampler(sampler: str, steps: int, partial: bool) -> int:
    if sampler == "Heun":
        return 2 * steps - (0 if partial else 1)
    # PNDM looks twice at the second of its timesteps, which a partial pass may leave out.
    return steps + (1 if sampler == "PLMS" and not partial else 0)


def _own_sampler(model: str) -> str:
    """The sampler of a model that was not given one: Euler for SDXL, as far as the model's folder says what it is."""
    try:
        location = locate(model)
        named = json.loads((location.path / INDEX).read_text())["_class_name"] if location.path else ""
    except (UserError, OSError, ValueError, KeyError):
        named = ""
    return "Euler" if str(named).startswith(_XL) else "PLMS"


def tasks(items: Iterable[Item]) -> Counter[str]:
    """How many pictures of each task."""
    return Counter(item.job.task for item in items)


def in_words(seconds: float) -> str:
    """A length of time to two places that matter."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}s"
    return f"{seconds:.0f} seconds"
