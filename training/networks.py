"""The networks and their sizes: a Stable Diffusion in small, also expressible in CompVis' configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .tokenizer import LENGTH

LATENT_CHANNELS = 4
# SD's schedule keeps 6.8 % of the picture at its last step. A 16 x 16 latent averages the noise down to 1/16, so in
# latents of unit variance the mean of the picture still shows there, and a model learns to read the background in the
# noise instead of in the caption. Smaller latents drown sooner: now words decide the background over 200 timesteps.
SCALING_FACTOR = 0.4
# The noise says next to nothing about the background or the layout while it hides them, so a network that predicts the
# noise hardly learns which words decide them. SD 2's velocity is there the picture itself.
PREDICTION = "v_prediction"
BETAS: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


@dataclass(frozen=True)
class Sizes:
    """Widths of the networks. UNet and VAE widths are multiples of the first one, as CompVis writes them; each width of
    the VAE after the first halves the picture once."""

    unet: tuple[int, int, int] = (64, 128, 128)
    vae: tuple[int, ...] = (32, 64, 64)
    context: int = 128
    text_layers: int = 4
    head_width: int = 32
    layers_per_block: int = 1


FULL = Sizes()
TINY = Sizes(unet=(32, 32, 32), vae=(32, 32, 32), context=32, text_layers=1, head_width=16)
# The UNet and the text encoder are those of shapes, so that their training may begin with its weights.
BOOK = Sizes(vae=(32, 32, 64, 128))
TINY_BOOK = Sizes(unet=(32, 32, 32), vae=(32, 32, 32, 32), context=32, text_layers=1, head_width=16)
LATENT_SIDE = 16


def make_vae(sizes: Sizes = FULL) -> AutoencoderKL:
    """64 x 64 or 128 x 128 pictures to 16 x 16 x 4 latents and back."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * len(sizes.vae),
        up_block_types=("UpDecoderBlock2D",) * len(sizes.vae),
        block_out_channels=sizes.vae,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=32,
        sample_size=LATENT_SIDE * 2 ** (len(sizes.vae) - 1),
        scaling_factor=SCALING_FACTOR,
    )


def make_unet(sizes: Sizes = FULL) -> UNet2DConditionModel:
    """Predicts the noise; cross-attention at 16 x 16, 8 x 8 and 4 x 4."""
    return UNet2DConditionModel(
        sample_size=LATENT_SIDE,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=sizes.unet,
        layers_per_block=sizes.layers_per_block,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=sizes.context,
        # diffusers reads this as the number of heads of each level.
        attention_head_dim=tuple(width // sizes.head_width for width in sizes.unet),
        norm_num_groups=32,
    )


def make_text_encoder(tokenizer: CLIPTokenizer, sizes: Sizes = FULL) -> CLIPTextModel:
    """CLIP's text model over 77 positions."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=sizes.context,
        intermediate_size=4 * sizes.context,
        projection_dim=sizes.context,
        num_hidden_layers=sizes.text_layers,
        num_attention_heads=sizes.context // sizes.head_width,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def make_noise_schedule() -> DDPMScheduler:
    """SD's betas, for adding noise in training."""
    return DDPMScheduler(**BETAS, prediction_type=PREDICTION, clip_sample=False)
