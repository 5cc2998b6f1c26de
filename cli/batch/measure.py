"""A short measurement: a few steps of each model at each size, from which the time of a run is reckoned."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import TYPE_CHECKING

from lib_ebca.studio.errors import UserError

from .estimate import evaluations
from .items import Item
from .packing import packed

if TYPE_CHECKING:
    from lib_ebca.studio.loading import Model

_SHORT, _LONG = 1, 4  # steps


def seconds_for(items: list[Item], batch_size: int, device: str | None, allow_pickle: bool) -> float:
    """Seconds for the pictures on one device, without loading the models. Raises UserError."""
    from lib_ebca.studio.loading import load

    total = 0.0
    for group in packed(items, len(items), _cost):
        model = load(replace(group[0].settings, device=device), allow_pickle, inpainting=True)
        fixed, each = _timed(model, group[:batch_size])
        total += sum(fixed + each * evaluations(item) for item in group)
        del model
    return total


def _cost(item: Item) -> Hashable:
    """What an evaluation's time depends on, apart from the model and the plan."""
    return item.settings.width, item.settings.height, item.settings.guidance > 1


def _timed(model: Model, pack: tuple[Item, ...]) -> tuple[float, float]:
    """Seconds for a picture, in the pack: apart from the UNet, and for each evaluation of it."""
    from lib_ebca.studio import Studio
    from lib_ebca.studio.recipe import Recipe

    studio = Studio(model)
    if studio.paints_only:
        raise UserError(f"--measure draws from text, and the model {pack[0].settings.model!r} is for inpainting only")
    seconds = {}
    # The first time pays for what is done once, and is not counted.
    for steps in (_SHORT, _SHORT, _LONG):
        recipes = [
            Recipe(
                replace(item.settings, steps=steps, sampler="Euler", negative=""),
                item.wanted.prompt,
                item.wanted.plan,
                item.seed,
            )
            for item in pack
        ]
        seconds[steps] = studio.draw(recipes)[0].seconds
    each = max(0.0, (seconds[_LONG] - seconds[_SHORT]) / (_LONG - _SHORT))
    return max(0.0, seconds[_SHORT] - _SHORT * each), each
