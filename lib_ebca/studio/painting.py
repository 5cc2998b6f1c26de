"""Photographs through a model: inverted and sampled, noised in part, or painted anew where a mask is white."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib_ebca.studio.as_webui import draw_as_webui, known_to_webui
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.generate import Drawn, attention, images_of
from lib_ebca.studio.recipe import Recipe
from lib_ebca.studio.samplers import WEBUI, scheduler_for
from lib_ebca.studio.task import Inverting

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lib_ebca.studio.loading import Model
    from lib_ebca.studio.progress import Advance


@dataclass(frozen=True)
class Repainting:
    """What is painted anew: white in `mask`, of the size that the model works on. `jumps` ask for RePaint."""

    mask: Image
    strength: float = 1.0
    jumps: tuple[int, int] | None = None


def tensor_of(image: Image) -> Tensor:
    """(1, channels, H, W) in [0, 1]."""
    import numpy as np
    import torch

    values = torch.from_numpy(np.asarray(image).copy()).float() / 255
    return values[None, None] if values.ndim == 2 else values.movedim(-1, 0)[None]


def image_of(values: Tensor) -> Image:
    """The picture of (1, 3, H, W) in [0, 1], rounded as the pipelines do."""
    import numpy as np
    from PIL import Image

    return Image.fromarray((values[0].movedim(0, -1).float().cpu().numpy() * 255).round().astype(np.uint8))


def inverted(model: Model, image: Image, caption: str, recipe: Recipe, how: Inverting, advance: Advance) -> Tensor:
    """The noise behind a picture of the size that the model works on, (1, 4, h, w) on the CPU."""
    from lib_ebca.hosts.inversion import invert, latents_of
    from lib_ebca.photo.inversion import FixedPoint
    from lib_ebca.photo.regularisation import Regularisation

    found = invert(
        model.pipe,
        latents_of(model.pipe, tensor_of(image)),
        [caption],
        steps=recipe.settings.steps,
        method=how.method,
        fixed_point=FixedPoint(how.iterations, how.tolerance),
        regularisation=Regularisation(how.rounds, how.rolls, how.auto_correlation, how.kl),
        seeds=(recipe.seed,),
        clip_skip=recipe.settings.clip_skip - 1 or None,
        advance=lambda step: advance(step, recipe.settings.steps),
    )
    return found.latents.cpu()


def edited(model: Model, recipes: Sequence[Recipe], latents: Tensor, advance: Advance) -> Drawn:
    """The pictures that sampling from the same inverted latents gives, under each recipe's prompt and plan."""
    from lib_ebca.hosts.inversion import edit_scheduler

    pipe = model.pipe
    pipe.scheduler = edit_scheduler(pipe)
    start = latents.to(pipe.unet.device, pipe.unet.dtype).expand(len(recipes), -1, -1, -1)
    return _called(model, pipe, recipes, advance, mask=None, latents=start, **_sizes(recipes[0]))


def varied(model: Model, recipes: Sequence[Recipe], image: Image, strength: float, advance: Advance) -> Drawn:
    """Pictures that start from a noised photograph."""
    from diffusers import AutoPipelineForImage2Image

    if recipes[0].settings.sampling == WEBUI:
        return draw_as_webui(model, recipes, advance, known=known_to_webui(model, image, strength))
    steps = recipes[0].settings.steps
    if int(steps * strength) < 1:
        raise UserError(f"--strength {strength:g} of {steps} steps is none at all: raise one of them")
    pipe = _quiet(AutoPipelineForImage2Image.from_pipe(model.pipe))
    pipe.scheduler = scheduler_for(str(recipes[0].settings.sampler), model.scheduler_config)
    return _called(
        model, pipe, recipes, advance, image=[image] * len(recipes), strength=strength, generator=_generators(recipes)
    )


def inpainted(model: Model, recipes: Sequence[Recipe], image: Image, what: Repainting, advance: Advance) -> Drawn:
    """Pictures painted anew where the mask is white, by an inpainting model or a plain one."""
    from diffusers import AutoPipelineForInpainting

    if what.jumps is not None:
        return _repainted(model, recipes, image, what, advance)
    if recipes[0].settings.sampling == WEBUI:
        known = known_to_webui(model, image, what.strength, what.mask)
        return draw_as_webui(model, recipes, advance, known=known)
    steps = recipes[0].settings.steps
    if int(steps * what.strength) < 1:
        raise UserError(f"--strength {what.strength:g} of {steps} steps is none at all: raise one of them")
    pipe = _quiet(AutoPipelineForInpainting.from_pipe(model.pipe))
    pipe.scheduler = scheduler_for(str(recipes[0].settings.sampler), model.scheduler_config)
    count = len(recipes)
    return _called(
        model,
        pipe,
        recipes,
        advance,
        mask=_latent_mask(pipe, what.mask),
        image=[image] * count,
        mask_image=[what.mask] * count,
        strength=what.strength,
        generator=_generators(recipes),
        **_sizes(recipes[0]),
    )


def _repainted(model: Model, recipes: Sequence[Recipe], image: Image, what: Repainting, advance: Advance) -> Drawn:
    import torch

    from lib_ebca.hosts.inversion import edit_scheduler, latents_of
    from lib_ebca.hosts.repaint import RePaintScheduler

    pipe, generators = model.pipe, _generators(recipes)
    if pipe.unet.config.in_channels != pipe.vae.config.latent_channels:
        raise UserError("--repaint is for models that were not made for inpainting, and this one was: leave it out")
    known = latents_of(pipe, tensor_of(image))
    mask = _latent_mask(pipe, what.mask)

    def noise() -> Tensor:
        return torch.cat([torch.randn(known.shape, generator=generator) for generator in generators])

    assert what.jumps is not None
    pipe.scheduler = RePaintScheduler.from_config(edit_scheduler(pipe).config)
    start = noise()
    pipe.scheduler.keep(known, mask[None, None], noise, jump_length=what.jumps[0], jump_count=what.jumps[1])
    latents = start.to(pipe.unet.device, pipe.unet.dtype)
    return _called(model, pipe, recipes, advance, mask=mask, latents=latents, **_sizes(recipes[0]))


def _called(
    model: Model, pipe: Any, recipes: Sequence[Recipe], advance: Advance, *, mask: Tensor | None = None, **inputs: Any
) -> Drawn:
    """One call of a pipeline for recipes that differ in prompt, negative prompt, plan and seed alone."""
    from lib_ebca.language.directives import parse

    first = recipes[0]

    def stepped(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        advance(step + 1, pipe.num_timesteps)
        return {}

    started = time.perf_counter()
    with attention(model, pipe, recipes, mask) as run:
        decoded = pipe(
            prompt=[parse(recipe.prompt).text for recipe in recipes],
            negative_prompt=[recipe.settings.negative for recipe in recipes] if first.settings.negative else None,
            num_inference_steps=first.settings.steps,
            guidance_scale=first.settings.guidance,
            clip_skip=first.settings.clip_skip - 1 or None,
            callback_on_step_end=stepped,
            output_type="pt",
            **inputs,
        ).images
    return Drawn(images_of(pipe, decoded, recipes), run, time.perf_counter() - started)


def _latent_mask(pipe: Any, mask: Image) -> Tensor:
    """(h, w), one where the mask is white, at the latents' size: read off as the inpainting pipelines do.

    Raises UserError where none of the white is met.
    """
    import torch.nn.functional as F

    factor = pipe.vae_scale_factor
    white = (tensor_of(mask) >= 0.5).float()
    read = F.interpolate(white, size=(mask.height // factor, mask.width // factor))[0, 0]
    if not read.any():
        raise UserError(
            f"the mask's white is too thin for the model, which works at {mask.width} x {mask.height} and sees one "
            f"pixel in {factor}: make it wider, or work larger with --width and --height"
        )
    return read


def _generators(recipes: Sequence[Recipe]) -> list[Any]:
    import torch

    return [torch.Generator().manual_seed(recipe.seed) for recipe in recipes]


def _sizes(recipe: Recipe) -> dict[str, int | None]:
    return {"width": recipe.settings.width, "height": recipe.settings.height}


def _quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe
