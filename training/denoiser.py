"""Training of the UNet and the text encoder together, on scenes drawn as they are needed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from training.captions import write_captions
from training.loop import LoopSettings, run_loop, step_generator
from training.networks import FULL, Sizes, make_noise_schedule, make_text_encoder, make_unet
from training.render import render
from training.scenes import sample_scenes
from training.tokenizer import CaptionTokens
from training.vae import fit_analytic_latent

# Together with the held-out captions, whose scenes go without words, about a tenth.
CAPTION_DROPOUT = 0.04
MIN_SNR = 5.0
# SD's schedule keeps 6.8 % of the picture at its last step. A 16 x 16 latent averages the noise down to 1/16, so the
# mean of the picture (spread about 0.8) still shows with a signal-to-noise ratio near 1, and a model learns to read
# the background there instead of in the caption. A common offset of spread 0.1 takes that ratio to about 0.2 and is
# still small against the noise itself.
NOISE_OFFSET = 0.1


class Denoiser(nn.Module):
    """The UNet and the text encoder, which are trained, averaged and saved as one."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Predicted noise (B, 4, h, w) for token ids (B, 77)."""
        context = self.text_encoder(tokens).last_hidden_state
        return self.unet(noisy, timesteps, encoder_hidden_states=context).sample


def make_denoiser(tokenizer: CLIPTokenizer, sizes: Sizes = FULL) -> Denoiser:
    """A fresh denoiser."""
    return Denoiser(make_unet(sizes), make_text_encoder(tokenizer, sizes))


def train_denoiser(
    folder: Path,
    settings: LoopSettings,
    batch: int,
    device: torch.device,
    seed: int,
    tokenizer: CLIPTokenizer,
    sizes: Sizes = FULL,
    compiled: bool = False,
) -> Denoiser:
    """Train (or resume) the denoiser on analytic latents, so that it need not wait for the VAE; averaged weights."""
    torch.manual_seed(seed + 1)
    model = make_denoiser(tokenizer, sizes).to(device)
    latent = fit_analytic_latent(seed, device)
    cuda = device.type == "cuda"
    if cuda:
        model.unet.to(memory_format=torch.channels_last)
    if compiled:
        model.unet.compile()
    tokens = CaptionTokens(tokenizer, device)
    kept = make_noise_schedule().alphas_cumprod.to(device)

    # The fused kernel spends a third of a step on the backward pass of attention at these sizes on a CPU.
    attention = nullcontext() if cuda else sdpa_kernel(SDPBackend.MATH)

    def loss(step: int, steps: int) -> Tensor:
        generator = step_generator(device, seed + 1, step)
        scenes = sample_scenes(batch, generator, device)
        captions = write_captions(scenes, generator)
        dropped = torch.rand(batch, generator=generator, device=device) < CAPTION_DROPOUT
        ids = tokens(captions.words, dropped | captions.held_out())
        latents = latent(2 * render(scenes) - 1)
        with torch.autocast(device.type, torch.bfloat16):
            timesteps = torch.randint(len(kept), (batch,), generator=generator, device=device)
            noise = torch.randn(latents.shape, generator=generator, device=device)
            offset = torch.randn(batch, latents.shape[1], 1, 1, generator=generator, device=device)
            noise = noise + NOISE_OFFSET * offset
            share = kept[timesteps][:, None, None, None]
            noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
            predicted = model(noisy, timesteps, ids).float()
        snr = kept[timesteps] / (1 - kept[timesteps])
        weight = snr.clamp(max=MIN_SNR) / snr
        return (weight * (predicted - noise).square().mean((1, 2, 3))).mean()

    with attention:
        trained = run_loop(model, loss, settings, folder, "denoiser", device)
    assert isinstance(trained, Denoiser)
    return trained
