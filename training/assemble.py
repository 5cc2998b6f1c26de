"""The trained parts as a StableDiffusionPipeline, in memory and as a diffusers folder in float16."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTokenizer

from .compvis import text_key
from .denoiser import Denoiser
from .networks import BETAS, PREDICTION
from .tokenizer import save_tokenizer


def make_pipeline(vae: AutoencoderKL, denoiser: Denoiser, tokenizer: CLIPTokenizer) -> StableDiffusionPipeline:
    """A pipeline of these very modules, with SD's scheduler settings."""
    # SD 1.x comes with PNDM, which averages the predictions of several steps as they are: right for noise, but a
    # velocity has another scale at every step, and pictures fall apart under guidance. SD 2's models have DDIM as well.
    scheduler = DDIMScheduler(
        **BETAS, clip_sample=False, steps_offset=1, set_alpha_to_one=False, prediction_type=PREDICTION
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=denoiser.text_encoder,
        tokenizer=tokenizer,
        unet=denoiser.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _halve(module: nn.Module) -> None:
    # Channels-last weights would be written in that order; the file is to be plain.
    for parameter in module.parameters():
        parameter.data = parameter.data.to("cpu", torch.float16).contiguous(memory_format=torch.contiguous_format)


def save_pipeline(pipeline: StableDiffusionPipeline, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a diffusers folder in float16, under another name first. Turns the pipeline's modules to float16."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for module in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        _halve(module)
    pipeline.save_pretrained(part, safe_serialization=True)
    save_tokenizer(tokenizer, part / "tokenizer")
    # Readers of every version know the prefixed names; newer versions write them without.
    text = part / "text_encoder" / "model.safetensors"
    save_file({text_key(key): value for key, value in load_file(text).items()}, text, metadata={"format": "pt"})
    for path in part.rglob("*.safetensors"):
        path.chmod(0o644)
    for path in part.rglob("*config.json"):
        values = {
            k: v
            for k, v in json.loads(path.read_text(encoding="utf-8")).items()
            if k not in ("is_local", "local_files_only")
        }
        if "dtype" in values:
            # Loaded without a wish, the text encoder is to have the same type as the UNet and the VAE.
            values["dtype"] = "float32"
        path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
