"""Loop level: whole passes of sampling through the public pipelines and their schedulers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
)
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.language.plan import ContextUpdate, Edit, Plan
from tests.golden.case import Case
from tests.golden.layer_level import boosts_of, signed
from tests.golden.unet_level import conducted, editorial_contexts, main_context, unet_of

SCHEDULERS = {"pndm": PNDMScheduler, "ddim": DDIMScheduler}


def run(case: Case, dtype: torch.dtype, start: Tensor | None = None) -> dict[str, Tensor]:
    """``latents``, ``trajectory``, ``last_context`` and ``last_edit_embeds`` of a loop case.

    ``start`` are latents to start from in place of the case's own.
    """
    count = case.meta["n_images"]
    pipe = pipeline(case, dtype)
    prompts = {name: case.given(f"in.{name}", dtype) for name in ("prompt_embeds", "negative_prompt_embeds")}
    edits = case.given("in.edit_cond_embeds", dtype) if "in.edit_cond_embeds" in case.tensors else ()
    mask = case.given("in.mask_latent", dtype)[0, 0] if "in.mask_latent" in case.tensors else None
    boosts = boosts_of(case.meta, prompts["prompt_embeds"].shape[1])
    picture = Picture(tuple(edits), boosts, mask)
    cascade = Cascade([picture] * count, [timetable(case)] * count, drift=True)
    trajectory: list[Tensor] = []

    def after_step(pipe: Any, index: int, timestep: Tensor, state: dict[str, Any]) -> dict[str, Any]:
        # The reference's callback leaves out PNDM's first evaluation, which is half of its first step.
        if index > 0 or case.meta["scheduler"] != "pndm":
            trajectory.append(state["latents"])
        return {}

    with conducted(pipe.unet, cascade, Rows.guided(count)):
        latents = pipe(
            **prompts,
            **_painting(case, dtype),
            latents=case.given("in.latents", dtype) if start is None else start,
            num_inference_steps=case.meta["num_inference_steps"],
            guidance_scale=case.meta["guidance_scale"],
            eta=case.meta["eta"],
            callback_on_step_end=after_step,
            output_type="latent",
        ).images
    found = {"latents": latents, "trajectory": torch.stack(trajectory), "last_context": main_context(cascade)}
    if len(edits):
        start = torch.cat([prompts["negative_prompt_embeds"][:1], *(edit[None] for edit in edits)])
        found["last_edit_embeds"] = editorial_contexts(cascade, start)
    return found


def pipeline(case: Case, dtype: torch.dtype) -> Any:
    """The case's pipeline: its UNet and scheduler, and neither text encoder nor VAE."""
    parts = {
        "text_encoder": None,
        "tokenizer": None,
        "unet": unet_of(case, dtype),
        "scheduler": SCHEDULERS.get(case.meta["scheduler"], DDIMScheduler).from_config(case.meta["scheduler_config"]),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    if case.meta["inpaint"]:
        # Never run: the pipeline asks it for its number of channels and, by its four stages, for its reduction of 8.
        vae = AutoencoderKL(block_out_channels=(1,) * 4, norm_num_groups=1).to(dtype)
        pipe = StableDiffusionInpaintPipeline(vae=vae, **parts)
    else:
        pipe = StableDiffusionPipeline(vae=None, **parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _painting(case: Case, dtype: torch.dtype) -> dict[str, Tensor]:
    """What the inpainting pipeline is called with besides."""
    if not case.meta["inpaint"]:
        return {}
    mask = case.tensors["in.mask_latent"].repeat_interleave(8, -1).repeat_interleave(8, -2)
    masked = case.given("in.masked_image_latents", dtype)
    return {"image": masked, "mask_image": mask, "masked_image_latents": masked}


def timetable(case: Case) -> Timetable:
    """The case's plan over its steps, in the single precision of the published tables.

    Raises:
        ValueError: the plan's numbers are not those of the case's tables.
    """
    steps = case.meta["num_inference_steps"]
    exact = Timetable.of(_plan(case.meta), steps)
    table = Timetable(tuple(_single(values) for values in exact.values))
    for name, tensor in case.tensors.items():
        if name.endswith("_table"):
            ours = torch.tensor([_entry(values, name, case.meta) for values in table.values], dtype=torch.float64)
            if not torch.equal(ours.reshape(steps + 1, -1).T.reshape(tensor.shape), tensor.double()):
                raise ValueError(f"{name} of {case.name} is not what the plan gives")
    return table


def _plan(meta: dict[str, Any]) -> Plan:
    schedule = meta["gamma_schedule"]
    tau = schedule.get("gamma_tau")
    window = {"step": {"start": tau}, "reverse_step": {"until": tau}}.get(schedule["name"], {})
    window["ratio"] = schedule.get("ratio")
    update = ContextUpdate(schedule["gamma_attn_src"], schedule["gamma_norm_src"], schedule=schedule["name"], **window)
    if "edits" not in meta:
        return Plan(update)
    columns = (meta["edits"][name] for name in ("alpha", "dir", "alpha_tau", "gac", "gnc", "gamma_tau"))
    return Plan(
        update,
        tuple(
            Edit(f"edit {number}", signed(alpha, direction), start, attn=attn, norm=norm, gamma_start=gammas)
            for number, (alpha, direction, start, attn, norm, gammas) in enumerate(zip(*columns, strict=True))
        ),
    )


def _single(values: Values) -> Values:
    def single(number: float) -> float:
        return float(np.float32(number))

    def singles(numbers: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(single(number) for number in numbers)

    edits = (singles(numbers) for numbers in (values.strengths, values.edit_attn, values.edit_norm))
    return Values(single(values.attn), single(values.norm), values.prior, *edits)


def _entry(values: Values, table: str, meta: dict[str, Any]) -> Any:
    if table == "in.alpha_table":
        directions = meta["edits"]["dir"]
        return [signed(strength, direction) for strength, direction in zip(values.strengths, directions, strict=True)]
    fields = {
        "in.gamma_attn_table": values.attn,
        "in.gamma_norm_table": values.norm,
        "in.gamma_attn_comp_table": values.edit_attn,
        "in.gamma_norm_comp_table": values.edit_norm,
    }
    return fields[table]
