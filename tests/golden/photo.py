"""Loop level, photographs: the inversion and the editing of a picture, and RePaint."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows
from lib_ebca.hosts.repaint import RePaintScheduler
from lib_ebca.photo.inversion import Course, Inversion, invert_published
from lib_ebca.photo.regularisation import Regularisation
from lib_ebca.photo.repaint import Stride
from tests.golden import loop_level
from tests.golden.case import Case
from tests.golden.unet_level import conducted, main_context


def run_realedit(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``inverted_latents`` and ``invert_trajectory``, and what sampling from there with the edits gives."""
    found = invert(case, dtype)
    edited = loop_level.run(case, dtype, found.latents)
    return {"inverted_latents": found.latents, "invert_trajectory": torch.stack(found.trajectory), **edited}


def invert(case: Case, dtype: torch.dtype) -> Inversion:
    """The regularised inversion of a case's photograph under its prompt.

    Raises:
        ValueError: the timesteps are not those of the reference.
    """
    settings = case.meta["invert"]
    pipe = loop_level.pipeline(case, dtype)
    course = Course.leading(pipe.scheduler.alphas_cumprod, case.meta["num_inference_steps"])
    if list(course.timesteps[:-1]) != settings["timesteps_run"]:
        raise ValueError(
            f"the inversion would run at {course.timesteps[:-1]}, the reference did at {settings['timesteps_run']}"
        )
    context = case.given("in.prompt_embeds", dtype)
    return invert_published(
        case.given("in.image_latents", dtype),
        lambda latents, timestep: pipe.unet(latents, timestep, context).sample,
        course,
        [torch.Generator().manual_seed(settings["seed"])],
        Regularisation(settings["nreg"], settings["nrolls"], settings["lac"], settings["lkl"]),
    )


class Watched(RePaintScheduler):
    """Keeps the latents after each step, as the reference's callback saw them: before they are noised again."""

    def keep(self, *args: Any, **keywords: Any) -> None:
        super().keep(*args, **keywords)
        self.trajectory: list[Tensor] = []

    def climbed(self, latents: Tensor, stride: Stride) -> Tensor:
        self.trajectory.append(latents)
        return super().climbed(latents, stride)


def run_repaint(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """``latents``, ``trajectory`` and ``last_context`` of a RePaint case.

    The reference's mask is 1 where the photograph is kept, and there it lets the picture pull: the opposite of ours.
    """
    settings = case.meta["repaint"]
    kept = case.given("in.mask_latent", dtype)
    generator = torch.Generator().manual_seed(settings["seed"])
    pipe = loop_level.pipeline(case, dtype)
    pipe.scheduler = scheduler = Watched.from_config(pipe.scheduler.config)
    scheduler.keep(
        case.given("in.image_latents", dtype),
        1 - kept,
        lambda: torch.randn(kept.shape[0], 4, *kept.shape[2:], generator=generator),
        jump_length=settings["jl"],
        jump_count=settings["jn"],
        clip=1.0,
    )
    cascade = Cascade([Picture(mask=kept[0, 0])], [loop_level.timetable(case)])
    with conducted(pipe.unet, cascade, Rows.guided(1)):
        latents = pipe(
            prompt_embeds=case.given("in.prompt_embeds", dtype),
            negative_prompt_embeds=case.given("in.negative_prompt_embeds", dtype),
            latents=case.given("in.latents", dtype),
            num_inference_steps=case.meta["num_inference_steps"],
            guidance_scale=case.meta["guidance_scale"],
            output_type="latent",
        ).images
    return {"latents": latents, "trajectory": torch.stack(scheduler.trajectory), "last_context": main_context(cascade)}
