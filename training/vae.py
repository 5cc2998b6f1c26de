"""Training of the VAE: 64 x 64 or 128 x 128 pictures to 16 x 16 x 4 latents and back.

Trained freely, an autoencoder this small loses the colours. So the latent is fixed beforehand by a formula: three
channels hold the whitened mean colour of each block, the fourth something of the detail left over. The encoder learns
the formula and the decoder to draw the picture from it; and since the formula needs no network, the denoiser can learn
at the same time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from .latent import LinearLatent, fit_linear_latent
from .loop import LoopSettings, reduced_precision, run_loop, step_generator, write_text_atomically
from .networks import FULL, Sizes, make_vae
from .spikes import spikes
from .worlds import WORLDS, Samples, World

BLOCK = 4
# Nothing in a picture asks for more than its surroundings, so larger pictures are learnt in windows of this side, at a
# share of the price; the last part of the training is on whole ones, as which they are used.
WINDOW = 64
WHOLE_FROM = 0.85
NOISE = 0.12
LOG_VARIANCE = -6.0
SPOT_WEIGHT = 0.3
SPIKE_WEIGHT = 0.3
STATISTICS_PICTURES = 1024
DOUBLE_SHARE = 0.6


@dataclass(frozen=True)
class AnalyticLatent:
    """The latent target: `whiten` (3, 3) and `centre` (3,) for mean colours, and mean and spread of the detail."""

    whiten: Tensor
    centre: Tensor
    detail_mean: float
    detail_spread: float

    def __call__(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] to (B, 4, H/4, W/4), about zero mean and unit variance in every channel."""
        mean, detail = _blocks(pictures)
        colour = torch.einsum("ij,bjhw->bihw", self.whiten, mean - self.centre[:, None, None])
        return torch.cat([colour, (detail - self.detail_mean) / self.detail_spread], 1)


def _blocks(pictures: Tensor) -> tuple[Tensor, Tensor]:
    mean = functional.avg_pool2d(pictures, BLOCK)
    rest = pictures - functional.interpolate(mean, scale_factor=BLOCK, mode="nearest")
    detail = functional.avg_pool2d(rest.square().mean(1, keepdim=True), BLOCK).sqrt()
    return mean, detail


def fit_analytic_latent(seed: int, device: torch.device) -> AnalyticLatent:
    """The whitening of a fixed sample of pictures, computed on the CPU so that every device gets the same."""
    generator = torch.Generator().manual_seed(seed)
    mean, detail = _blocks(2 * WORLDS["shapes"].sample(STATISTICS_PICTURES, generator, "cpu").pictures - 1)
    colours = mean.movedim(1, -1).reshape(-1, 3).double()
    values, vectors = torch.linalg.eigh(torch.cov(colours.T))
    # The sign of an eigenvector is arbitrary; its largest entry is made positive.
    vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    whiten = (vectors / values.sqrt()).T.flip(0).float().contiguous()
    return AnalyticLatent(
        whiten.to(device), colours.mean(0).float().to(device), float(detail.mean()), float(detail.std())
    )


# A denoiser and the VAE of another training must mean the same by a latent, whatever their seeds and contents.
LATENT_SEED = 0


def fit_latent(world: World, device: torch.device) -> AnalyticLatent | LinearLatent:
    """The latent target of a world, which is that of the whole of it."""
    if world.factor == BLOCK:
        return fit_analytic_latent(LATENT_SEED, device)
    return fit_linear_latent(world.whole, LATENT_SEED, device)


def train_vae(
    folder: Path,
    settings: LoopSettings,
    batch: int,
    device: torch.device,
    seed: int,
    sizes: Sizes = FULL,
    world: World = WORLDS["shapes"],
    known: AutoencoderKL | None = None,
) -> AutoencoderKL:
    """Train (or resume) the VAE; returns it with averaged weights. The latents are white: scaling factor 1.

    `known` is a VAE of these sizes to begin with, if not chance."""
    torch.manual_seed(seed)
    vae = make_vae(sizes)
    if known is not None:
        vae.load_state_dict(known.state_dict())
    vae = vae.to(device)
    target = fit_latent(world, device)
    vae = vae.to(memory_format=torch.channels_last)

    samples = Samples(world, batch, seed, device, lambda step: DOUBLE_SHARE)

    def loss(step: int, steps: int) -> Tensor:
        generator = step_generator(device, seed, step)
        sample = samples(step, generator)
        window = _window(world, generator) if step < WHOLE_FROM * steps else (..., slice(None), slice(None))
        pictures, regions = (2 * sample.pictures - 1)[window].contiguous(), sample.regions[window]
        wanted = target(pictures)
        noise = torch.randn(wanted.shape, generator=generator, device=device)
        amount = NOISE * torch.rand(batch, 1, 1, 1, generator=generator, device=device)
        things = 1 - regions[:, 2:]
        weight = 1 + 2 * functional.max_pool2d((things > 0.05).float(), 5, stride=1, padding=2)
        with reduced_precision(device):
            posterior = vae.encode(pictures.contiguous(memory_format=torch.channels_last)).latent_dist
            mean, log_variance = posterior.mean.float(), posterior.logvar.float()
            with spikes(vae.decoder) as loud:
                rebuilt = vae.decode(wanted + amount * noise).sample.float()
        error = rebuilt - pictures
        rebuilding = (weight * (error.abs() + 2 * error.square())).mean()
        # Channel-wise normalisation tempts the decoder to hide its loudness in a faint spot beside an object.
        flat = functional.avg_pool2d((weight == 1).float() * error.abs(), 4, stride=2).amax((1, 2, 3)).mean()
        pulling = (mean - wanted).square().mean()
        settling = (log_variance - LOG_VARIANCE).square().mean()
        return rebuilding + SPOT_WEIGHT * flat + SPIKE_WEIGHT * torch.stack(loud).sum() + pulling + 0.001 * settling

    trained = run_loop(vae, loss, settings, folder, "vae", device)
    assert isinstance(trained, AutoencoderKL)
    statistics = measure_latents(trained, device, seed, world)
    write_text_atomically(json.dumps(statistics, indent=1), folder / "latents.json")
    return trained


def _window(world: World, generator: torch.Generator) -> tuple[EllipsisType, slice, slice]:
    """Rows and columns of a window of pictures, whole blocks; all of them if the pictures are small."""
    places = (world.size - WINDOW) // world.factor + 1
    corners = torch.randint(max(1, places), (2,), generator=generator, device=generator.device).tolist()
    rows, columns = (slice(world.factor * corner, world.factor * corner + WINDOW) for corner in corners)
    return ..., rows, columns


@torch.no_grad()
def measure_latents(
    vae: AutoencoderKL, device: torch.device, seed: int, world: World = WORLDS["shapes"]
) -> dict[str, float]:
    """Spread of the latents, the signal-to-noise ratio of a round trip in dB, and channel means."""
    # As many pixels in every world.
    count = 256 * 64**2 // world.size**2
    pictures = 2 * world.sample(count, step_generator(device, seed, 10**6), device).pictures - 1
    latents = torch.cat([vae.encode(b).latent_dist.mean for b in pictures.split(16)])
    rebuilt = torch.cat([vae.decode(z).sample for z in latents.split(16)])
    error = (rebuilt.clamp(-1, 1) - pictures).square().flatten(1).mean(1)
    channels = {f"mean_{i}": float(m) for i, m in enumerate(latents.mean((0, 2, 3)))}
    spreads = {f"std_{i}": float(s) for i, s in enumerate(latents.std((0, 2, 3)))}
    psnr = float((10 * torch.log10(4 / error)).mean())
    return {"std": float(latents.std()), "psnr_db": psnr, **channels, **spreads}
