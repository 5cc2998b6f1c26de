"""The diffusers host on every kind of pipeline: image to image, inpainting, ControlNet, PAG, LoRA, IP-Adapter."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    ControlNetModel,
    PNDMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPAGPipeline,
)

from lib_ebca import Plan
from lib_ebca.hosts.diffusers import energy_attention, executed_steps
from tests import tiny_pipe
from tests.hosts.sampling import BCU, FULL, STEPS, sample


def test_image_to_image_and_inpainting(sd1: Any) -> None:
    parts = {**sd1.components, "requires_safety_checker": False}
    picture, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1
    changing = tiny_pipe.quiet(StableDiffusionImg2ImgPipeline(**parts))
    painting = tiny_pipe.quiet(StableDiffusionInpaintPipeline(**parts))
    nine = tiny_pipe.quiet(StableDiffusionInpaintPipeline(**{**parts, "unet": tiny_pipe.unet(in_channels=9)}))
    for pipe, asked in (
        (changing, {"image": picture, "strength": 0.5}),
        (painting, {"image": picture, "mask_image": mask, "strength": 0.75}),
        (nine, {"image": picture, "mask_image": mask}),
    ):
        size: dict[str, Any] = {} if "mask_image" not in asked else {"height": 16, "width": 16}
        plain, changed = sample(pipe, Plan(), **asked, **size), sample(pipe, FULL, **asked, **size)
        assert not torch.allclose(plain, changed, atol=1e-5)


def test_the_clock_runs_over_the_executed_steps(sd1: Any) -> None:
    changing = tiny_pipe.quiet(StableDiffusionImg2ImgPipeline(**sd1.components, requires_safety_checker=False))
    picture = torch.rand(1, 3, 16, 16)
    with energy_attention(changing, BCU):
        changing("a cat", image=picture, strength=0.5, num_inference_steps=8, output_type="latent")
        assert executed_steps(changing) == 4


def test_pndm_evaluates_once_more_than_it_steps(sd1: Any) -> None:
    found = sd1.scheduler
    sd1.scheduler = PNDMScheduler.from_config(found.config, skip_prk_steps=True)
    try:
        with energy_attention(sd1, BCU, record_energies=True) as run:
            sd1("a cat", num_inference_steps=STEPS, output_type="latent")
            assert executed_steps(sd1) == STEPS
        assert {record.step for record in run.energies} == set(range(STEPS + 1))
    finally:
        sd1.scheduler = found


def test_inpainting_models_bring_their_own_mask() -> None:
    pipe = tiny_pipe.quiet(
        StableDiffusionInpaintPipeline(**{**tiny_pipe.parts_sd1(in_channels=9), "requires_safety_checker": False})
    )
    picture, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1
    asked: dict[str, Any] = {"image": picture, "mask_image": mask, "height": 16, "width": 16}
    own = sample(pipe, BCU, **asked)
    given = sample(pipe, BCU, **asked, options={"mask": mask[0, 0, ::2, ::2]})
    everywhere = sample(pipe, BCU, **asked, options={"mask": torch.ones(8, 8)})
    assert torch.allclose(own, given, atol=1e-6)
    assert not torch.allclose(own, everywhere, atol=1e-5)


def test_controlnet(sd1: Any) -> None:
    torch.manual_seed(5)
    control = ControlNetModel.from_unet(
        sd1.unet, conditioning_channels=3, conditioning_embedding_out_channels=(8, 8)
    ).eval()
    pipe = tiny_pipe.quiet(
        StableDiffusionControlNetPipeline(**sd1.components, controlnet=control, requires_safety_checker=False)
    )
    asked: dict[str, Any] = {"image": torch.rand(1, 3, 16, 16)}
    assert not torch.allclose(sample(pipe, Plan(), **asked), sample(pipe, FULL, **asked), atol=1e-5)


def test_perturbed_guidance_adds_rows(sd1: Any) -> None:
    pipe = tiny_pipe.quiet(
        StableDiffusionPAGPipeline(**sd1.components, pag_applied_layers=["mid"], requires_safety_checker=False)
    )
    asked: dict[str, Any] = {"pag_scale": 2.0}
    with energy_attention(pipe, BCU) as run:
        pipe("a cat", num_inference_steps=1, output_type="latent", **asked)
    assert not run.comments
    assert not torch.allclose(sample(pipe, Plan(), **asked), sample(pipe, BCU, **asked), atol=1e-5)


def test_an_unfused_lora_counts_in_the_update() -> None:
    unfused, fused = tiny_pipe.with_lora(), tiny_pipe.with_lora()
    fused.fuse_lora()
    wanted = sample(fused, FULL)
    assert torch.allclose(sample(unfused, FULL), wanted, atol=2e-4)
    assert not torch.allclose(sample(tiny_pipe.sd1(), FULL), wanted, atol=1e-3)


def test_ip_adapter_keeps_its_picture() -> None:
    pipe = tiny_pipe.with_ip_adapter()
    images = [torch.randn(2, 1, 1, 16)]
    plain, changed = (sample(pipe, plan, ip_adapter_image_embeds=images) for plan in (Plan(), FULL))
    other = sample(pipe, FULL, ip_adapter_image_embeds=[-images[0]])
    assert not torch.allclose(plain, changed, atol=1e-5)
    assert not torch.allclose(other, changed, atol=1e-5)
