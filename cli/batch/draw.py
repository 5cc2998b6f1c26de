"""A pack of one shape, drawn: pictures and their "parameters" texts, in the order of the pack."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lib_ebca.studio import photographs as photo
from lib_ebca.studio import request, settings
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.progress import silent
from lib_ebca.studio.recipe import Recipe, to_text
from lib_ebca.studio.task import Inverting, Task
from lib_ebca.studio.task import to_text as task_text

from .. import photo_options
from .packing import Pack
from .schema import EditPhoto, Img2img, Inpaint, Txt2img

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib_ebca.studio.generate import Drawn
    from lib_ebca.studio.loading import Model

    from .items import Item


@dataclass(frozen=True)
class Picture:
    """A picture, the text that goes into it, and sentences for the user."""

    image: Image
    parameters: str
    comments: tuple[str, ...]


def check(model: Model, item: Item) -> None:
    """What can be told about an item once its model is there. Raises UserError and WordError."""
    completed = settings.completed(item.settings, model)
    request.check_boosts(item.wanted, model.pipe.tokenizer)
    plain = model.pipe.unet.config.in_channels == model.pipe.vae.config.latent_channels
    if not plain and not isinstance(item.job, Inpaint):
        raise UserError(f"model {completed.model!r} is made for inpainting: {item.job.task} needs another")


def drawn(model: Model, pack: Pack) -> tuple[Picture, ...]:
    """Draws the pictures of a pack. Raises what drawing raises."""
    job = pack[0].job
    if isinstance(job, Txt2img):
        return _from_text(model, pack)
    source = photo.read(_given(pack[0].photo))
    asked = pack[0].settings
    fitted = photo.fitting(source.image.size, model.size, job.fit, (asked.width, asked.height))
    asked = photo_options.completed(asked, fitted, model)
    recipes = [
        Recipe(asked, item.wanted.prompt, item.wanted.plan, item.seed, len(pack), place)
        for place, item in enumerate(pack)
    ]
    if isinstance(job, Img2img):
        return _varied(model, job, recipes, source, fitted)
    if isinstance(job, Inpaint):
        return _inpainted(model, job, recipes, source, fitted, pack[0])
    return _edited(model, job, recipes[0], source, fitted)


def _from_text(model: Model, pack: Pack) -> tuple[Picture, ...]:
    from lib_ebca.studio.generate import draw

    recipes = [
        Recipe(
            settings.completed(item.settings, model), item.wanted.prompt, item.wanted.plan, item.seed, len(pack), place
        )
        for place, item in enumerate(pack)
    ]
    done = draw(model, recipes, silent)
    texts = [to_text(recipe, model.source) for recipe in recipes]
    return _pictures(done, list(done.images), texts, recipes)


def _varied(
    model: Model, job: Img2img, recipes: list[Recipe], source: photo.Photo, fitted: photo.Fitting
) -> tuple[Picture, ...]:
    from lib_ebca.studio.painting import varied

    done = varied(model, recipes, fitted.down(source.image), job.strength, silent)
    what = Task("img2img", source.digest, job.fit, strength=job.strength)
    images = [source.worn(fitted.up(image)) for image in done.images]
    return _pictures(done, images, [task_text(recipe, model.source, what) for recipe in recipes], recipes)


def _inpainted(
    model: Model, job: Inpaint, recipes: list[Recipe], source: photo.Photo, fitted: photo.Fitting, item: Item
) -> tuple[Picture, ...]:
    from lib_ebca.studio.painting import Repainting, inpainted

    mask = _given(item.mask)
    white = photo.read_mask(mask, source)
    part, kept = fitted.part(white), fitted.part(source.image)
    if part.getextrema()[1] == 0:
        raise UserError(f"the mask {mask} is black in the part that fit: crop leaves: use fit: resize")
    jumps = (job.jump_length, job.jump_count) if job.repaint else None
    painted = Repainting(fitted.down(white), job.strength, jumps)
    done = inpainted(model, recipes, fitted.down(source.image), painted, silent)
    images = [fitted.up(image) for image in done.images]
    if job.paste_back:
        images = [photo.pasted(kept, image, part, job.feather) for image in images]
    what = Task(
        "repaint" if job.repaint else "inpaint",
        source.digest,
        job.fit,
        mask=photo.digest_of(white),
        strength=None if job.repaint else job.strength,
        jumps=jumps,
        paste_back=job.paste_back,
        feather=job.feather,
    )
    texts = [task_text(recipe, model.source, what) for recipe in recipes]
    return _pictures(done, [source.worn(image) for image in images], texts, recipes)


def _edited(
    model: Model, job: EditPhoto, recipe: Recipe, source: photo.Photo, fitted: photo.Fitting
) -> tuple[Picture, ...]:
    from lib_ebca.language.directives import parse
    from lib_ebca.language.plan import Plan
    from lib_ebca.studio import painting

    how = replace(
        Inverting(),
        method=job.inversion,
        iterations=job.iterations,
        tolerance=job.tolerance,
        rounds=job.rounds,
        auto_correlation=job.auto_correlation,
        kl=job.kl,
    )
    made = replace(recipe, plan=Plan()) if job.reconstruct else recipe
    image = fitted.down(source.image)
    latents = painting.inverted(model, image, parse(made.prompt).text, made, how, silent)
    done = painting.edited(model, made, latents, silent)
    text = task_text(made, model.source, Task("edit", source.digest, job.fit, inverting=how))
    return _pictures(done, [source.worn(fitted.up(done.images[0]))], [text], [made])


def _pictures(done: Drawn, images: list[Image], texts: list[str], recipes: list[Recipe]) -> tuple[Picture, ...]:
    comments = tuple(done.run.comments)
    return tuple(
        Picture(image, text, (*request.unread_tags(recipe.prompt), *comments))
        for image, text, recipe in zip(images, texts, recipes, strict=True)
    )


def _given(value: Path | None) -> Path:
    assert value is not None
    return value
