"""A batch of recipes to pictures as AUTOMATIC1111's WebUI draws them: its samplers, schedules, noise and rounding."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lib_ebca.studio.drawn import Drawn, refuse_endless
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.head_files import vectors_of
from lib_ebca.studio.recipe import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lib_ebca.hosts.webui_samplers import Known
    from lib_ebca.studio.loading import Model
    from lib_ebca.studio.progress import Advance


def draw_as_webui(
    model: Model,
    recipes: Sequence[Recipe],
    advance: Advance,
    *,
    known: Known | None = None,
    record_energies: bool = False,
    record_maps: bool = False,
) -> Drawn:
    """Like :func:`lib_ebca.studio.generate.draw`, in the WebUI's way; `known` is a picture to start from.

    Raises UserError where the sampler cannot make the walk.
    """
    import torch

    from lib_ebca.hosts.diffusers import energy_attention
    from lib_ebca.hosts.webui_scheduler import WalkScheduler
    from lib_ebca.language.directives import parse

    settings, pipe = recipes[0].settings, model.pipe
    generators = [torch.Generator().manual_seed(recipe.seed) for recipe in recipes]
    factor = pipe.vae_scale_factor
    shape = (1, pipe.unet.config.in_channels, (settings.height or 0) // factor, (settings.width or 0) // factor)

    def noise() -> Tensor:
        return torch.cat([torch.randn(shape, generator=generator) for generator in generators])

    started = time.perf_counter()
    scheduler = WalkScheduler(model.scheduler_config.get("prediction_type", "epsilon"))
    scheduler.follow(_walk(model, recipes, noise, known), settings.steps)
    pipe.scheduler = scheduler
    plans = [recipe.plan for recipe in recipes]
    attention = energy_attention(
        pipe,
        plans,
        mask=None if known is None else known.repainted,
        record_energies=record_energies,
        record_maps=record_maps,
        drift=settings.drift,
        vectors=vectors_of(model, settings, plans),
        as_webui=True,
    )

    def stepped(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        advance(step + 1, len(scheduler.timesteps))
        return tensors

    with attention as run:
        pictures = pipe(
            prompt=[parse(recipe.prompt).text for recipe in recipes],
            negative_prompt=[recipe.settings.negative for recipe in recipes] if settings.negative else None,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            width=settings.width,
            height=settings.height,
            clip_skip=settings.clip_skip - 1 or None,
            latents=scheduler.first.to(pipe.unet.device, pipe.unet.dtype),
            callback_on_step_end=stepped,
            output_type="pt",
        ).images
    refuse_endless(pictures, recipes)
    return Drawn(tuple(cut_off(picture) for picture in pictures), run, time.perf_counter() - started)


def known_to_webui(model: Model, image: Image, strength: float, mask: Image | None = None) -> Known:
    """A photograph of the size that the model works on, and the white of a mask of that size, as where a pass begins.

    The WebUI draws the encoding from the encoder's distribution, with whatever noise comes next; here it is the mean.

    Raises UserError for a model that was made for inpainting, and for a mask whose white the model cannot see.
    """
    import numpy as np
    import torch

    from lib_ebca.hosts.inversion import latents_of
    from lib_ebca.hosts.webui_samplers import Known

    if model.pipe.unet.config.in_channels != model.pipe.vae.config.latent_channels:
        raise UserError("--sampling webui is not for models that were made for inpainting: leave it out")

    def values(picture: Image) -> Tensor:
        return torch.from_numpy(np.asarray(picture.convert("RGB"), np.float32) / 255).movedim(-1, 0)

    latents = latents_of(model.pipe, values(image)[None]).cpu()
    if mask is None:
        return Known(latents, strength)
    white = values(mask.convert("RGB").resize((latents.shape[3], latents.shape[2])))[0].round()
    if not bool(white.any()):
        raise UserError(
            "the mask's white is too thin for the model: make it wider, or work larger with --width, --height"
        )
    return Known(latents, strength, white)


def cut_off(picture: Tensor) -> Image:
    """The picture of (3, H, W) in [0, 1] with what is left of a level cut off, as the WebUI does it."""
    import numpy as np
    from PIL import Image

    values = picture.float().cpu().numpy().transpose(1, 2, 0)
    return Image.fromarray((255.0 * values).astype(np.uint8))


def _walk(model: Model, recipes: Sequence[Recipe], noise: Any, known: Known | None) -> Any:
    from lib_ebca.hosts.webui_samplers import AUTOMATIC, walk
    from lib_ebca.hosts.webui_scheduler import table_of

    settings = recipes[0].settings
    try:
        return walk(
            str(settings.sampler),
            settings.schedule or AUTOMATIC,
            settings.steps,
            noise(),
            table_of(model.scheduler_config),
            noise,
            seeds=[recipe.seed for recipe in recipes],
            known=known,
            xl=hasattr(model.pipe, "text_encoder_2"),
        )
    except ValueError as error:
        raise UserError(str(error)) from None
