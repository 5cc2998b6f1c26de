"""A whole Stable Diffusion of tiny size with random weights, saved once, and the command run on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from typer.testing import CliRunner, Result

from cli.main import app
from tests import tiny_text

Ebca = Callable[..., Result]
SIZE = 32  # pixels


def tiny_pipeline() -> StableDiffusionPipeline:
    """32 x 32 pixels, latents of half that size, four cross-attention layers, random weights."""
    torch.manual_seed(0)
    tokenizer = tiny_text.tokenizer()
    unet = UNet2DConditionModel(
        sample_size=SIZE // 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(16, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=SIZE,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=tiny_text.text_encoder(tokenizer, seed=0),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=PNDMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, skip_prk_steps=True
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in diffusers layout."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture
def ebca() -> Ebca:
    """Runs `ebca` with the arguments given, in this process."""
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def draw(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> Ebca:
    """Runs `ebca txt2img` with the tiny model, two steps and the test's folder."""
    common = ("--model", tiny_model, "--steps", 2, "--out", tmp_path / "out")
    return lambda *arguments: ebca("txt2img", *common, *arguments)


@pytest.fixture(scope="session")
def tiny_lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA file for the tiny model's cross-attention keys and values, strong enough to be seen."""
    pipe = tiny_pipeline()
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["attn2.to_k", "attn2.to_v"], init_lora_weights=False))
    folder = tmp_path_factory.mktemp("loras")
    pipe.save_lora_weights(
        folder, unet_lora_layers=get_peft_model_state_dict(pipe.unet), weight_name="tiny.safetensors"
    )
    return folder / "tiny.safetensors"
