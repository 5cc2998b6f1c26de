"""A pack of one shape, drawn: its pictures in the order of the pack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lib_ebca.studio import Picture, Studio, photographs
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.recipe import Recipe
from lib_ebca.studio.task import Inverting

from .items import Item
from .packing import Pack
from .schema import EditPhoto, Img2img, Inpaint, P2p, Txt2img
from .together import recipes_of


def check(studio: Studio, item: Item) -> None:
    """What can be told about an item once its model is there. Raises UserError and WordError."""
    for recipe in _beside(studio, item, item.job) if isinstance(item.job, P2p) else [_recipe(item)]:
        studio.check(recipe)
    if studio.paints_only and not isinstance(item.job, Inpaint):
        raise UserError(f"model {item.settings.model!r} is made for inpainting: {item.job.task} needs another")


def drawn(studio: Studio, pack: Pack) -> tuple[Picture, ...]:
    """Draws the pictures of a pack. Raises what drawing raises."""
    job, recipes = pack[0].job, [_recipe(item) for item in pack]
    if isinstance(job, Txt2img):
        return studio.draw(recipes)
    if isinstance(job, P2p):
        together = studio.follow(_beside(studio, pack[0], job))
        return tuple(together[item.member] for item in pack)
    photo = photographs.read(_given(pack[0].photo))
    if isinstance(job, Img2img):
        return studio.vary(recipes, photo, strength=job.strength, fit=job.fit)
    if isinstance(job, Inpaint):
        return studio.inpaint(
            recipes,
            photo,
            photographs.read_mask(_given(pack[0].mask), photo),
            strength=job.strength,
            jumps=(job.jump_length, job.jump_count) if job.repaint else None,
            paste_back=job.paste_back,
            feather=job.feather,
            fit=job.fit,
        )
    recipe = _without_plan(recipes[0]) if job.reconstruct else recipes[0]
    return (studio.edit(recipe, photo, how=_how(job), fit=job.fit),)


def _beside(studio: Studio, item: Item, job: P2p) -> list[Recipe]:
    return recipes_of(job, item.settings, item.seed, studio)


def _recipe(item: Item) -> Recipe:
    return Recipe(item.settings, item.wanted.prompt, item.wanted.plan, item.seed)


def _without_plan(recipe: Recipe) -> Recipe:
    from lib_ebca.language.plan import Plan

    return replace(recipe, plan=Plan())


def _how(job: EditPhoto) -> Inverting:
    return replace(
        Inverting(),
        method=job.inversion,
        iterations=job.iterations,
        tolerance=job.tolerance,
        rounds=job.rounds,
        auto_correlation=job.auto_correlation,
        kl=job.kl,
    )


def _given(value: Path | None) -> Path:
    assert value is not None
    return value
