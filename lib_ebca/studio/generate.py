"""A batch of recipes to pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from lib_ebca.studio.drawn import Drawn, refuse_endless
from lib_ebca.studio.head_files import vectors_of
from lib_ebca.studio.recipe import Recipe
from lib_ebca.studio.samplers import WEBUI, scheduler_for

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lib_ebca.hosts.diffusers import Run
    from lib_ebca.studio.loading import Model
    from lib_ebca.studio.progress import Advance


def draw(
    model: Model,
    recipes: Sequence[Recipe],
    advance: Advance,
    *,
    record_energies: bool = False,
    record_maps: bool = False,
) -> Drawn:
    """Draws a batch whose recipes differ in prompt, negative prompt, plan and seed alone.

    A negative prompt is given to all of them or to none, and their prompts take the same number of chunks: the shorter
    ones would be padded, and be other pictures than alone.

    The noise of each picture comes from its own generator on the CPU, in float32: it depends on the seed and the size
    alone, not on the batch, the device or the precision.
    """
    if recipes[0].settings.sampling == WEBUI:
        from lib_ebca.studio.as_webui import draw_as_webui

        return draw_as_webui(model, recipes, advance, record_energies=record_energies, record_maps=record_maps)
    import torch

    from lib_ebca.language.directives import parse

    first = recipes[0]
    settings = first.settings
    pipe = model.pipe
    pipe.scheduler = scheduler_for(str(settings.sampler), model.scheduler_config)
    generators = [torch.Generator().manual_seed(recipe.seed) for recipe in recipes]
    factor = pipe.vae_scale_factor
    shape = (1, pipe.unet.config.in_channels, settings.height // factor, settings.width // factor)
    noise = torch.cat([torch.randn(shape, generator=generator) for generator in generators])

    def stepped(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        advance(step + 1, len(pipe.scheduler.timesteps))
        return tensors

    started = time.perf_counter()
    with attention(model, pipe, recipes, record_energies=record_energies, record_maps=record_maps) as run:
        decoded = pipe(
            prompt=[parse(recipe.prompt).text for recipe in recipes],
            # None, not "": SDXL was trained with zeros in the place of an empty negative prompt.
            negative_prompt=[recipe.settings.negative for recipe in recipes] if settings.negative else None,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            width=settings.width,
            height=settings.height,
            clip_skip=settings.clip_skip - 1 or None,
            generator=generators,
            latents=noise.to(pipe.unet.device, pipe.unet.dtype),
            callback_on_step_end=stepped,
            output_type="pt",
        ).images
    return Drawn(images_of(pipe, decoded, recipes), run, time.perf_counter() - started)


def attention(
    model: Model,
    pipe: Any,
    recipes: Sequence[Recipe],
    mask: Tensor | None = None,
    *,
    record_energies: bool = False,
    record_maps: bool = False,
) -> AbstractContextManager[Run]:
    """The block in which one call of `pipe` draws the recipes, each under its own plan; `mask` as in the host's."""
    from lib_ebca.hosts.diffusers import encoded, energy_attention

    plans, settings = [recipe.plan for recipe in recipes], recipes[0].settings
    if not (any(plan.active for plan in plans) or record_energies or record_maps):
        return encoded(pipe)
    return energy_attention(
        pipe,
        plans,
        mask=mask,
        record_energies=record_energies,
        record_maps=record_maps,
        drift=settings.drift,
        vectors=vectors_of(model, settings, plans),
    )


def images_of(pipe: Any, decoded: Tensor, recipes: Sequence[Recipe]) -> tuple[Image, ...]:
    """The pictures of a decoded batch, (n, 3, H, W) in [0, 1], as the pipeline itself makes them. Raises UserError."""
    refuse_endless(decoded, recipes)
    return tuple(pipe.image_processor.numpy_to_pil(pipe.image_processor.pt_to_numpy(decoded)))
