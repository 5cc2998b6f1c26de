"""Photographs in and out of a diffusers pipeline: to latents, to the noise behind them, and back to pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from lib_ebca.hosts.diffusers import HostError, encoded
from lib_ebca.photo.inversion import (
    EXACT,
    Course,
    FixedPoint,
    Inversion,
    InversionError,
    Model,
    invert_fixed_point,
    invert_published,
)
from lib_ebca.photo.regularisation import PUBLISHED, Regularisation


def edit_scheduler(pipe: Any) -> DDIMScheduler:
    """The sampler that an inversion is the inverse of: DDIM with the model's betas, in the published set-up."""
    config = pipe.scheduler.config
    return DDIMScheduler.from_config(
        config,
        timestep_spacing="leading",
        steps_offset=config.get("steps_offset", 1),
        clip_sample=False,
        set_alpha_to_one=False,
    )


def course_of(scheduler: DDIMScheduler, steps: int) -> Course:
    """The steps that a DDIM scheduler would take, from the picture up.

    Raises:
        InversionError: the schedule cannot be inverted, or has not that many steps.
    """
    if not 2 <= steps < scheduler.config.num_train_timesteps:
        raise InversionError(f"steps is {steps}: it should be 2 to {scheduler.config.num_train_timesteps - 1}")
    scheduler.set_timesteps(steps)
    timesteps = [int(timestep) for timestep in scheduler.timesteps.flip(0)]
    alphas = scheduler.alphas_cumprod.cpu()
    stride = scheduler.config.num_train_timesteps // steps
    below = [alphas[t - stride] if t >= stride else scheduler.final_alpha_cumprod.cpu() for t in timesteps]
    return Course(tuple(timesteps), alphas[timesteps], torch.stack(below), scheduler.config.prediction_type)


def denoiser(pipe: Any, captions: Sequence[str], size: tuple[int, int], clip_skip: int | None = None) -> Model:
    """The pipeline's UNet under captions, without guidance, as the pipeline itself would call it.

    Args:
        pipe: an SD 1, SD 2 or SDXL text-to-image pipeline.
        captions: one for each picture; emphasis and long captions are read the WebUI's way.
        size: height and width of the pictures in pixels, which SDXL is told.
        clip_skip: as the pipeline's argument.
    """
    device, dtype = pipe.unet.device, pipe.unet.dtype
    with torch.no_grad(), encoded(pipe):
        found = pipe.encode_prompt(
            prompt=list(captions),
            device=device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
            clip_skip=clip_skip,
        )
    conditions: dict[str, Any] = {"encoder_hidden_states": found[0].to(dtype)}
    if len(found) == 4:
        pooled = found[2].to(dtype)
        width = pipe.text_encoder_2.config.projection_dim
        ids = pipe._get_add_time_ids(size, (0, 0), size, dtype=dtype, text_encoder_projection_dim=width)
        conditions["added_cond_kwargs"] = {
            "text_embeds": pooled,
            "time_ids": ids.to(device).expand(len(captions), -1),
        }

    def model(latents: Tensor, timestep: int) -> Tensor:
        return pipe.unet(latents.to(dtype), timestep, **conditions).sample.to(latents.dtype)

    return model


@torch.no_grad()
def latents_of(pipe: Any, pictures: Tensor) -> Tensor:
    """Pictures, (B, 3, H, W) in [0, 1] with sides the VAE can halve, as scaled latents in single precision at least.

    Raises:
        HostError: the sides are no multiples of the VAE's reduction.
    """
    factor = pipe.vae_scale_factor
    if pictures.shape[-1] % factor or pictures.shape[-2] % factor:
        height, width = pictures.shape[-2:]
        raise HostError(f"the picture is {width} x {height}: its sides should be multiples of {factor}")
    with _precise(pipe.vae) as vae:
        encoding = vae.encode((2 * pictures - 1).to(vae.device, vae.dtype)).latent_dist.mode()
        shift = vae.config.shift_factor or 0.0
        latents = (encoding - shift) * vae.config.scaling_factor
    return latents if latents.dtype == torch.float64 else latents.float()


@torch.no_grad()
def pictures_of(pipe: Any, latents: Tensor) -> Tensor:
    """Scaled latents as pictures: (B, 3, H, W) in [0, 1]."""
    with _precise(pipe.vae) as vae:
        encoding = latents.to(vae.dtype) / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
        pictures = vae.decode(encoding).sample
    return (pictures / 2 + 0.5).clamp(0, 1)


def invert(
    pipe: Any,
    latents: Tensor,
    captions: Sequence[str],
    *,
    steps: int = 50,
    method: str = "fixed-point",
    fixed_point: FixedPoint = EXACT,
    regularisation: Regularisation = PUBLISHED,
    seeds: Sequence[int] = (0,),
    clip_skip: int | None = None,
    advance: Callable[[int], None] = lambda step: None,
) -> Inversion:
    """The noise behind photographs under their captions: from there, :func:`edit_scheduler` samples the photographs.

    Args:
        pipe: an SD 1, SD 2 or SDXL text-to-image pipeline.
        latents: (B, 4, h, w) from :func:`latents_of`.
        captions: one for each photograph.
        steps: sampling steps.
        method: "fixed-point" solves each sampling step backwards; "published" is regularised DDIM inversion.
        fixed_point: for the first.
        regularisation: for the second.
        seeds: one for each photograph, or one for all: the random shifts of the second.
        clip_skip: as the pipeline's argument.
        advance: told how many steps are done.

    Raises:
        InversionError: numbers that do not fit together, or a schedule that cannot be inverted.
    """
    if method not in ("fixed-point", "published"):
        raise InversionError(f"method is {method!r}: it should be fixed-point or published")
    if len(captions) != len(latents):
        raise InversionError(f"{len(latents)} photographs have {len(captions)} captions: each needs its own")
    course = course_of(edit_scheduler(pipe), steps)
    factor = pipe.vae_scale_factor
    model = denoiser(pipe, captions, (latents.shape[-2] * factor, latents.shape[-1] * factor), clip_skip)
    latents = latents.to(pipe.unet.device)
    if method == "published":
        each = tuple(seeds) * (len(latents) if len(seeds) == 1 else 1)
        generators = [torch.Generator().manual_seed(seed) for seed in each]
        return invert_published(latents, model, course, generators, regularisation, advance)
    return invert_fixed_point(latents, model, course, fixed_point, advance)


@contextmanager
def _precise(vae: Any) -> Iterator[Any]:
    """The VAE in a precision that it can work in: SDXL's overflows in half precision and says so."""
    dtype = vae.dtype
    raised = dtype == torch.float16 and bool(vae.config.force_upcast)
    if raised:
        vae.to(torch.float32)
    try:
        yield vae
    finally:
        if raised:
            vae.to(dtype)
