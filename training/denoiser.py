"""Training of the UNet and the text encoder together, on scenes drawn as they are needed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTextModel, CLIPTokenizer

from .gradients import gradient_of, refuse_other_gradient
from .grounding import NOBODY, grounding_loss, watch
from .loop import LoopSettings, fall, reduced_precision, run_loop, step_generator
from .networks import FULL, SCALING_FACTOR, Sizes, make_noise_schedule, make_text_encoder, make_unet
from .tokenizer import CaptionTokens
from .vae import fit_latent
from .worlds import WORLDS, Samples, World

# Together with the held-out captions, whose scenes go without words, about a tenth.
CAPTION_DROPOUT = 0.04
MIN_SNR = 5.0
# Of the same order as the loss of the drawing, which is 0.3 to 0.6; gone when the learning rate is.
GROUNDING = 0.1


class Denoiser(nn.Module):
    """The UNet and the text encoder, which are trained, averaged and saved as one."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Predicted velocity (B, 4, h, w) for token ids (B, 77)."""
        context = self.text_encoder(tokens).last_hidden_state
        return self.unet(noisy, timesteps, encoder_hidden_states=context).sample


def make_denoiser(tokenizer: CLIPTokenizer, sizes: Sizes = FULL) -> Denoiser:
    """A fresh denoiser."""
    return Denoiser(make_unet(sizes), make_text_encoder(tokenizer, sizes))


def loss_weights(kept: Tensor) -> Tensor:
    """What the square of an error of the velocity counts, by timestep, for the shares of the picture kept (T,).

    An error of the velocity is one of the picture times 1 / sqrt(1 - kept); in latents of unit variance the picture's
    error counts min(snr, MIN_SNR) + 1: as for an unweighted velocity, but where hardly any noise is left.
    """
    snr = SCALING_FACTOR**2 * kept / (1 - kept)
    return (snr.clamp(max=MIN_SNR) + 1) * (1 - kept) / SCALING_FACTOR**2


def train_denoiser(
    folder: Path,
    settings: LoopSettings,
    batch: int,
    device: torch.device,
    seed: int,
    tokenizer: CLIPTokenizer,
    sizes: Sizes = FULL,
    compiled: bool = False,
    world: World = WORLDS["shapes"],
    begin: Callable[[Denoiser], None] = lambda denoiser: None,
    had: int = 0,
) -> Denoiser:
    """Train (or resume) the denoiser on analytic latents, so that it need not wait for the VAE; averaged weights.

    `begin` sets the weights that a fresh training begins with, if not chance, and `had` says how many steps made them.

    Raises WrongGradientsError where `compiled` is asked for and would teach something else."""
    torch.manual_seed(seed + 1)
    model = make_denoiser(tokenizer, sizes)
    begin(model)
    model = model.to(device)
    latent = fit_latent(world, device)
    cuda = device.type == "cuda"
    # Convolutions are a fifth faster so, on a CPU too.
    model.unet.to(memory_format=torch.channels_last)
    tokens = CaptionTokens(tokenizer, device, world.words)
    kept = make_noise_schedule().alphas_cumprod.to(device)
    weight = loss_weights(kept)

    # The fused kernel spends a third of a step on the backward pass of attention at these sizes on a CPU.
    attention = nullcontext() if cuda else sdpa_kernel(SDPBackend.MATH)

    maps = watch(model.unet)
    samples = Samples(world, batch, seed + 1, device, lambda step: world.double_share(had + step))

    def loss(step: int, steps: int) -> Tensor:
        generator = step_generator(device, seed + 1, step)
        sample = samples(step, generator)
        dropped = torch.rand(batch, generator=generator, device=device) < CAPTION_DROPOUT
        dropped = dropped | sample.held_out
        ids, slots = tokens(sample.words, dropped), tokens.slots(sample.words, dropped)
        owners = torch.where(slots < 0, NOBODY, sample.owners.gather(1, slots.clamp(min=0)))
        latents = SCALING_FACTOR * latent(2 * sample.pictures - 1)
        with reduced_precision(device):
            timesteps = torch.randint(len(kept), (batch,), generator=generator, device=device)
            noise = torch.randn(latents.shape, generator=generator, device=device)
            share = kept[timesteps][:, None, None, None]
            noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
            wanted = share.sqrt() * noise - (1 - share).sqrt() * latents
            predicted = model(noisy, timesteps, ids).float()
        drawing = (weight[timesteps] * (predicted - wanted).square().mean((1, 2, 3))).mean()
        grounding = torch.stack([grounding_loss(m.take().float(), owners, sample.regions) for m in maps])
        return drawing + GROUNDING * fall(step, steps) * grounding.mean()

    with attention:
        if compiled:
            plain = gradient_of(model, lambda: loss(0, 1))
            model.unet.compile()
            refuse_other_gradient(plain, gradient_of(model, lambda: loss(0, 1)))
        trained = run_loop(model, loss, settings, folder, "denoiser", device)
    assert isinstance(trained, Denoiser)
    return trained
