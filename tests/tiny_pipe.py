"""Whole pipelines of random weights, small enough to run in a second, of the shapes of SD 1, SD 2 and SDXL."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)

from tests.tiny_text import text_encoder, tokenizer

WIDTHS = (32, 64)


def unet(cross_attention_dim: int = 32, in_channels: int = 4, seed: int = 0, **extra: Any) -> UNet2DConditionModel:
    """Two levels with cross-attention; ``attention_head_dim`` counts heads as in SD 1 unless given."""
    torch.manual_seed(seed)
    options: dict[str, Any] = {
        "sample_size": 8,
        "in_channels": in_channels,
        "out_channels": 4,
        "block_out_channels": WIDTHS,
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": cross_attention_dim,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**{**options, **extra}).eval().requires_grad_(False)


def vae(seed: int = 1) -> AutoencoderKL:
    """Halves the picture's sides once."""
    torch.manual_seed(seed)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
    ).eval()


def scheduler() -> DDIMScheduler:
    """DDIM with SD's betas."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def parts_sd1(**unet_options: Any) -> dict[str, Any]:
    """The components of an SD 1 pipeline."""
    tokens = tokenizer()
    return {
        "unet": unet(**unet_options),
        "vae": vae(),
        "text_encoder": text_encoder(tokens, 2),
        "tokenizer": tokens,
        "scheduler": scheduler(),
        "safety_checker": None,
        "feature_extractor": None,
    }


def sd1(**unet_options: Any) -> StableDiffusionPipeline:
    """SD 1: heads counted by ``attention_head_dim``."""
    return quiet(StableDiffusionPipeline(**parts_sd1(**unet_options), requires_safety_checker=False))


def sd2() -> StableDiffusionPipeline:
    """SD 2: linear projections, head width per level."""
    return sd1(attention_head_dim=(2, 4), use_linear_projection=True)


def sdxl() -> StableDiffusionXLPipeline:
    """SDXL: two text encoders, pooled text and sizes beside the timestep, deeper transformers."""
    tokens, tokens_2 = tokenizer(), tokenizer(pad_token="!")
    return quiet(
        StableDiffusionXLPipeline(
            unet=unet(
                cross_attention_dim=64,
                attention_head_dim=(2, 4),
                use_linear_projection=True,
                transformer_layers_per_block=(1, 2),
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=24 + 6 * 8,
            ),
            vae=vae(),
            text_encoder=text_encoder(tokens, 2),
            text_encoder_2=text_encoder(tokens_2, 3, projection=True),
            tokenizer=tokens,
            tokenizer_2=tokens_2,
            scheduler=scheduler(),
            add_watermarker=False,
        )
    )


def quiet(pipe: Any) -> Any:
    """Without a progress bar."""
    pipe.set_progress_bar_config(disable=True)
    return pipe


def with_lora() -> StableDiffusionPipeline:
    """SD 1 with an unfused LoRA that is not idle."""
    from peft import LoraConfig

    pipe = sd1()
    torch.manual_seed(9)
    pipe.unet.add_adapter(
        LoraConfig(r=2, lora_alpha=8, init_lora_weights=False, target_modules=["to_k", "to_q", "to_v"])
    )
    return pipe


def with_ip_adapter() -> Any:
    """SD 1 with an IP-Adapter of random weights, for one image embedding (1, 1, 16) a side."""
    pipe = sd1()
    unet = pipe.unet
    torch.manual_seed(11)
    width = unet.config.cross_attention_dim
    weights: dict[str, torch.Tensor] = {}
    names = [name.removesuffix(".processor") for name in unet.attn_processors if "attn2" in name]
    for number, name in enumerate(names):
        module = unet.get_submodule(name)
        for kind in ("k", "v"):
            weights[f"{2 * number + 1}.to_{kind}_ip.weight"] = torch.randn(module.inner_dim, width)
    projection = {
        "proj.weight": torch.randn(4 * width, 16),
        "proj.bias": torch.zeros(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    unet._load_ip_adapter_weights([{"image_proj": projection, "ip_adapter": weights}])
    return pipe
