"""diffusers' pipelines of random weights, tiny, each with what a call of it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from diffusers import ControlNetModel, DDIMInverseScheduler, DDIMScheduler, LCMScheduler, T2IAdapter
from torch import Tensor

from tests import tiny_pipe

STEPS = 4
Made = tuple[Any, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A way of calling a pipeline.

    Attributes:
        name: of the pipeline's class.
        make: the pipeline, and what its call asks for beside prompt, steps and generator.
        how: what is special about the call.
        coupled: its processors let rows look at other rows, so that a single row cannot be run by itself.
        options: what the test should do otherwise: ``steps``.
    """

    name: str
    make: Callable[[], Made]
    how: str = ""
    coupled: bool = False
    options: dict[str, Any] = field(default_factory=dict)


def picture(size: int = 16, seed: int = 3) -> Tensor:
    """(1, 3, size, size) in [0, 1]."""
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


def half(size: int = 16) -> Tensor:
    """A mask whose right half is 1."""
    mask = torch.zeros(1, 1, size, size)
    mask[..., size // 2 :] = 1
    return mask


def sd1(name: str, unet: dict[str, Any] | None = None, **extra: Any) -> Any:
    """A pipeline of SD 1's parts."""
    parts = {**tiny_pipe.parts_sd1(**(unet or {})), "requires_safety_checker": False, **extra}
    return tiny_pipe.quiet(getattr(diffusers, name)(**parts))


def sdxl(name: str, unet: dict[str, Any] | None = None, **extra: Any) -> Any:
    """A pipeline of SDXL's parts."""
    own = tiny_pipe.sdxl()
    parts = {part: each for part, each in own.components.items() if part not in ("image_encoder", "feature_extractor")}
    if unet:
        torch.manual_seed(0)
        parts["unet"] = type(own.unet).from_config({**own.unet.config, **unet}).eval().requires_grad_(False)
    return tiny_pipe.quiet(getattr(diffusers, name)(**parts, **extra))


def control(unet: Any) -> Any:
    """A ControlNet of a UNet's shape."""
    torch.manual_seed(5)
    made = ControlNetModel.from_unet(unet, conditioning_channels=3, conditioning_embedding_out_channels=(8, 8)).eval()
    for parameter in made.controlnet_mid_block.parameters():
        parameter.data.normal_(0, 0.1)
    return made


def adapter() -> Any:
    """A T2I-Adapter for two levels."""
    torch.manual_seed(6)
    return T2IAdapter(
        in_channels=3,
        channels=list(tiny_pipe.WIDTHS),
        num_res_blocks=1,
        downscale_factor=2,
        adapter_type="full_adapter",
    ).eval()


def _with_control(kind: Callable[..., Any], name: str, **asked: Any) -> Made:
    plain = kind("StableDiffusionPipeline" if kind is sd1 else "StableDiffusionXLPipeline")
    return kind(name, controlnet=control(plain.unet)), asked


def _painted(**more: Any) -> dict[str, Any]:
    return {"image": picture(), "mask_image": half(), "height": 16, "width": 16, **more}


def _lcm(name: str, **asked: Any) -> Made:
    pipe = sd1(name, unet={"time_cond_proj_dim": 8})
    pipe.scheduler = LCMScheduler.from_config(tiny_pipe.scheduler().config)
    return pipe, asked


def _upscale() -> Made:
    parts = tiny_pipe.parts_sd1(in_channels=7, num_class_embeds=1000)
    parts.update(low_res_scheduler=DDIMScheduler())
    return tiny_pipe.quiet(diffusers.StableDiffusionUpscalePipeline(**parts, max_noise_level=350)), {
        "image": picture(8),
        "noise_level": 10,
    }


def _depth() -> Made:
    parts = {**tiny_pipe.parts_sd1(in_channels=5), "depth_estimator": None}
    del parts["safety_checker"]
    pipe = tiny_pipe.quiet(diffusers.StableDiffusionDepth2ImgPipeline(**parts))
    return pipe, {"image": picture(), "depth_map": torch.rand(1, 16, 16), "strength": 0.75}


def _diffedit() -> Made:
    inverse = DDIMInverseScheduler.from_config(tiny_pipe.scheduler().config)
    pipe = sd1("StableDiffusionDiffEditPipeline", inverse_scheduler=inverse)
    latents = torch.randn(1, STEPS, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    return pipe, {"mask_image": half(8)[0], "image_latents": latents, "inpaint_strength": 1.0}


def _gligen() -> Made:
    pipe = sd1("StableDiffusionGLIGENPipeline", unet={"attention_type": "gated", "sample_size": 8})
    return pipe, {"gligen_phrases": ["cat"], "gligen_boxes": [[0.1, 0.1, 0.6, 0.6]], "height": 16, "width": 16}


def _unguided(name: str, scale: float) -> Made:
    kind = sdxl if "XL" in name else sd1
    return kind(name), {"guidance_scale": scale}


SD, XL = "StableDiffusion", "StableDiffusionXL"
PAG: dict[str, Any] = {"pag_applied_layers": ["mid"]}
WIDE = {"height": 16, "width": 160}
ALONE = {"guidance_scale": 1.0}
ONE = {"steps": 1}
CASES = [
    Case(f"{SD}Pipeline", lambda: (sd1(f"{SD}Pipeline"), {})),
    Case(f"{SD}Pipeline", lambda: _unguided(f"{SD}Pipeline", 1.0), "guidance 1"),
    Case(f"{SD}Pipeline", lambda: _unguided(f"{SD}Pipeline", 0.0), "guidance 0, 1 step", options=ONE),
    Case(f"{SD}Img2ImgPipeline", lambda: (sd1(f"{SD}Img2ImgPipeline"), {"image": picture(), "strength": 0.5})),
    Case(f"{SD}InpaintPipeline", lambda: (sd1(f"{SD}InpaintPipeline"), _painted())),
    Case(f"{SD}ControlNetPipeline", lambda: _with_control(sd1, f"{SD}ControlNetPipeline", image=picture())),
    Case(
        f"{SD}ControlNetImg2ImgPipeline",
        lambda: _with_control(
            sd1, f"{SD}ControlNetImg2ImgPipeline", image=picture(), control_image=picture(), strength=0.5
        ),
    ),
    Case(
        f"{SD}ControlNetInpaintPipeline",
        lambda: _with_control(sd1, f"{SD}ControlNetInpaintPipeline", **_painted(control_image=picture())),
    ),
    Case(f"{SD}AdapterPipeline", lambda: (sd1(f"{SD}AdapterPipeline", adapter=adapter()), _canvas())),
    Case(f"{SD}InstructPix2PixPipeline", lambda: (sd1(f"{SD}InstructPix2PixPipeline", {"in_channels": 8}), _edited())),
    Case(f"{SD}Depth2ImgPipeline", _depth),
    Case(f"{SD}UpscalePipeline", _upscale),
    Case(f"{SD}PAGPipeline", lambda: (sd1(f"{SD}PAGPipeline", **PAG), {"pag_scale": 2.0}), coupled=True),
    Case(
        f"{SD}PAGPipeline",
        lambda: (sd1(f"{SD}PAGPipeline", **PAG), {"pag_scale": 2.0, "guidance_scale": 1.0}),
        "guidance 1",
        coupled=True,
    ),
    Case(
        f"{SD}PAGImg2ImgPipeline",
        lambda: (sd1(f"{SD}PAGImg2ImgPipeline", **PAG), {"pag_scale": 2.0, "image": picture(), "strength": 0.5}),
        coupled=True,
    ),
    Case(
        f"{SD}PAGInpaintPipeline",
        lambda: (sd1(f"{SD}PAGInpaintPipeline", **PAG), _painted(pag_scale=2.0)),
        coupled=True,
    ),
    Case(
        f"{SD}ControlNetPAGPipeline",
        lambda: (
            sd1(f"{SD}ControlNetPAGPipeline", controlnet=control(tiny_pipe.unet()), **PAG),
            {"pag_scale": 2.0, "image": picture()},
        ),
        coupled=True,
    ),
    Case(f"{SD}SAGPipeline", lambda: (sd1(f"{SD}SAGPipeline"), {"sag_scale": 0.7})),
    Case(
        f"{SD}SAGPipeline", lambda: (sd1(f"{SD}SAGPipeline"), {"sag_scale": 0.7, "guidance_scale": 1.0}), "guidance 1"
    ),
    Case(
        f"{SD}PanoramaPipeline", lambda: (sd1(f"{SD}PanoramaPipeline"), {"height": 16, "width": 160}), "several views"
    ),
    Case(
        f"{SD}PanoramaPipeline",
        lambda: (sd1(f"{SD}PanoramaPipeline"), {**WIDE, "view_batch_size": 2}),
        "two views in a call",
    ),
    Case(f"{SD}LDM3DPipeline", lambda: (sd1(f"{SD}LDM3DPipeline", image_encoder=None, vae=_deep()), _pictures())),
    Case(f"{SD}AttendAndExcitePipeline", lambda: (sd1(f"{SD}AttendAndExcitePipeline"), _excited())),
    Case(f"{SD}GLIGENPipeline", _gligen),
    Case(f"{SD}DiffEditPipeline", _diffedit, "the edit itself"),
    Case("TextToVideoZeroPipeline", lambda: (sd1("TextToVideoZeroPipeline"), _video()), coupled=True),
    Case("LatentConsistencyModelPipeline", lambda: _lcm("LatentConsistencyModelPipeline")),
    Case("LatentConsistencyModelPipeline", lambda: _lcm("LatentConsistencyModelPipeline"), "1 step", options=ONE),
    Case(
        "LatentConsistencyModelImg2ImgPipeline",
        lambda: _lcm("LatentConsistencyModelImg2ImgPipeline", image=picture(), strength=0.5),
    ),
    Case(f"{XL}Pipeline", lambda: (sdxl(f"{XL}Pipeline"), {})),
    Case(f"{XL}Pipeline", lambda: _unguided(f"{XL}Pipeline", 0.0), "guidance 0, 1 step", options=ONE),
    Case(f"{XL}Pipeline", lambda: (sdxl(f"{XL}Pipeline"), {"denoising_end": 0.5}), "denoising_end"),
    Case(f"{XL}Img2ImgPipeline", lambda: (sdxl(f"{XL}Img2ImgPipeline"), {"image": picture(), "strength": 0.5})),
    Case(f"{XL}InpaintPipeline", lambda: (sdxl(f"{XL}InpaintPipeline"), _painted())),
    Case(f"{XL}ControlNetPipeline", lambda: _with_control(sdxl, f"{XL}ControlNetPipeline", image=picture())),
    Case(f"{XL}AdapterPipeline", lambda: (sdxl(f"{XL}AdapterPipeline", adapter=adapter()), _canvas())),
    Case(f"{XL}InstructPix2PixPipeline", lambda: (sdxl(f"{XL}InstructPix2PixPipeline", {"in_channels": 8}), _edited())),
    Case(f"{XL}PAGPipeline", lambda: (sdxl(f"{XL}PAGPipeline", **PAG), {"pag_scale": 2.0}), coupled=True),
    Case(
        f"{XL}PAGImg2ImgPipeline",
        lambda: (sdxl(f"{XL}PAGImg2ImgPipeline", **PAG), {"pag_scale": 2.0, "image": picture(), "strength": 0.5}),
        coupled=True,
    ),
    Case("TextToVideoZeroSDXLPipeline", lambda: (sdxl("TextToVideoZeroSDXLPipeline"), _video()), coupled=True),
]


REFUSED: list[tuple[str, Callable[[], Any]]] = [
    ("SemanticStableDiffusionPipeline", lambda: sd1("SemanticStableDiffusionPipeline")),
    ("LEditsPPPipelineStableDiffusion", lambda: _leditspp("LEditsPPPipelineStableDiffusion")),
    ("LEditsPPPipelineStableDiffusionXL", lambda: _leditspp("LEditsPPPipelineStableDiffusionXL")),
    ("AnimateDiffPipeline", lambda: _animated()),
    ("StableDiffusionLatentUpscalePipeline", lambda: _latent_upscaler()),
]
"""Pipelines that no plan acts on."""


def _leditspp(name: str) -> Any:
    pipe = (sdxl if "XL" in name else sd1)(name)
    return pipe


def _animated() -> Any:
    motion = diffusers.MotionAdapter(block_out_channels=tiny_pipe.WIDTHS, motion_layers_per_block=1)
    parts = tiny_pipe.parts_sd1()
    return diffusers.AnimateDiffPipeline(
        **{part: parts[part] for part in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")},
        motion_adapter=motion,
    )


def _latent_upscaler() -> Any:
    parts = tiny_pipe.parts_sd1()
    return diffusers.StableDiffusionLatentUpscalePipeline(
        **{part: parts[part] for part in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}
    )


def _deep() -> Any:
    own = tiny_pipe.vae()
    return type(own).from_config({**own.config, "in_channels": 6, "out_channels": 6})


def _pictures() -> dict[str, Any]:
    return {"output_type": "np"}


def _canvas() -> dict[str, Any]:
    return {"image": picture(), "height": 16, "width": 16}


def _edited() -> dict[str, Any]:
    return {"image": picture(), "image_guidance_scale": 1.5}


def _excited() -> dict[str, Any]:
    return {"token_indices": [2], "max_iter_to_alter": 2, "thresholds": {0: 0.05}, "attn_res": (4, 4)}


def _video() -> dict[str, Any]:
    return {"video_length": 2, "t0": 1, "t1": 2, "height": 16, "width": 16}
