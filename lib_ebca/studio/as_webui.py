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

    from lib_ebca.hosts.run import Run
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

    Where hires fix is asked for, what is recorded is of its second pass.

    Raises UserError where the sampler cannot make the walk.
    """
    started = time.perf_counter()
    settings = recipes[0].settings
    width, height = settings.width or 0, settings.height or 0
    hires = settings.hires if known is None else None
    if hires is None:
        made, run = _passed(
            model, recipes, advance, (width, height), settings.steps, known, "pt", record_energies, record_maps
        )
    else:
        from lib_ebca.hosts.webui_samplers import Known

        factor = model.pipe.vae_scale_factor
        small, first = _passed(model, recipes, advance, (width, height), settings.steps, None, "latent")
        across, down = (hires.side(side) // factor for side in (width, height))
        known = Known(hires.enlarged(small.float().cpu(), across, down), hires.strength, all_steps=True)
        size, steps = (across * factor, down * factor), hires.steps or settings.steps
        made, run = _passed(model, recipes, advance, size, steps, known, "pt", record_energies, record_maps)
        for sentence in first.comments:
            run.tell(sentence)
    refuse_endless(made, recipes)
    return Drawn(tuple(cut_off(picture) for picture in made), run, time.perf_counter() - started)


def _passed(
    model: Model,
    recipes: Sequence[Recipe],
    advance: Advance,
    size: tuple[int, int],
    steps: int,
    known: Known | None,
    output: str,
    record_energies: bool = False,
    record_maps: bool = False,
) -> tuple[Tensor, Run]:
    """One pass at a size of width and height: pictures in [0, 1], or with the output "latent" what they would be of."""
    import torch

    from lib_ebca.hosts.diffusers import energy_attention
    from lib_ebca.hosts.webui_samplers import NOISES
    from lib_ebca.hosts.webui_scheduler import WalkScheduler
    from lib_ebca.language.directives import parse

    settings, pipe, (width, height) = recipes[0].settings, model.pipe, size
    drawing = [NOISES[settings.noise](recipe.seed) for recipe in recipes]
    factor = pipe.vae_scale_factor
    shape = (1, pipe.unet.config.in_channels, height // factor, width // factor)

    def noise() -> Tensor:
        return torch.cat([draw(shape) for draw in drawing])

    scheduler = WalkScheduler(model.scheduler_config.get("prediction_type", "epsilon"))
    scheduler.follow(_walk(model, recipes, steps, noise, known), steps)
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
        made: Tensor = pipe(
            prompt=[parse(recipe.prompt).text for recipe in recipes],
            negative_prompt=[recipe.settings.negative for recipe in recipes] if settings.negative else None,
            num_inference_steps=steps,
            guidance_scale=settings.guidance,
            width=width,
            height=height,
            clip_skip=settings.clip_skip - 1 or None,
            latents=scheduler.first.to(pipe.unet.device, pipe.unet.dtype),
            callback_on_step_end=stepped,
            output_type=output,
        ).images
    return made, run


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


def _walk(model: Model, recipes: Sequence[Recipe], steps: int, noise: Any, known: Known | None) -> Any:
    from lib_ebca.hosts.webui_samplers import AUTOMATIC, NOISES, walk
    from lib_ebca.hosts.webui_scheduler import table_of

    settings = recipes[0].settings
    try:
        return walk(
            str(settings.sampler),
            settings.schedule or AUTOMATIC,
            steps,
            noise(),
            table_of(model.scheduler_config),
            noise,
            seeds=[recipe.seed for recipe in recipes],
            known=known,
            xl=hasattr(model.pipe, "text_encoder_2"),
            source=NOISES[settings.noise],
        )
    except ValueError as error:
        raise UserError(str(error)) from None
