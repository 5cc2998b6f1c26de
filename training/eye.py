"""Training of the book world's judge, on drawings and on drawings that have been through the VAE.

It never sees a picture of the generator, so that it judges what it has no part in.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from world.book.contents import WHOLE, Contents
from world.book.eye import WIDTHS, Eye, eye_loss, targets
from world.book.judge import agrees
from world.book.render import render
from world.book.scenes import Scene, sample_scene

from .ahead import Ahead, usual_workers
from .evaluate import Rate, rate
from .loop import LoopSettings, reduced_precision, run_loop, step_generator

DOUBLE_SHARE = 0.7
# The share of a batch that goes through the VAE, where there is one, in the second half of the training, for a round
# trip teaches how things are painted, not what they are; an eye that knows them already sees it from the start.
ROUND_TRIPS, ROUND_TRIPS_FROM = 0.25, 0.5
NOISE, BRIGHTNESS = 0.04, 0.06


def draw_scenes(count: int, seed: int, double_share: float = DOUBLE_SHARE, contents: Contents = WHOLE) -> list[Scene]:
    """Scenes with every pair of nouns."""
    draw = random.Random(seed)
    return [sample_scene(draw, double_share, all_pairs=True, contents=contents) for _ in range(count)]


@torch.no_grad()
def round_trip(vae: AutoencoderKL, pictures: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Pictures (B, 3, S, S) in [0, 1] through the encoder and the decoder; with a generator, the latent is sampled."""
    posterior = vae.encode(2 * pictures - 1).latent_dist
    latent = posterior.mean if generator is None else posterior.sample(generator)
    return ((vae.decode(latent).sample + 1) / 2).clamp(0, 1)


def train_eye(
    folder: Path,
    settings: LoopSettings,
    batch: int,
    device: torch.device,
    seed: int,
    vae: AutoencoderKL | None = None,
    widths: tuple[int, int, int] = WIDTHS,
    contents: Contents = WHOLE,
    known: Eye | None = None,
) -> Eye:
    """Train (or resume) the judge's eye; averaged weights. `known` is an eye to begin with, if not chance."""
    torch.manual_seed(seed + 2)
    eye = Eye(widths)
    if known is not None:
        eye.load_state_dict(known.state_dict())
    eye = eye.to(device)

    def draw(step: int) -> tuple[NDArray[Any], ...]:
        scenes = draw_scenes(batch, (seed + 2) * 1_000_003 + step, contents=contents)
        return tuple(tensor.numpy() for tensor in (render(scenes).pictures, *targets(scenes)))

    ahead = Ahead(draw, usual_workers(device))

    def loss(step: int, steps: int) -> Tensor:
        generator = step_generator(device, seed + 2, step)
        pictures, bumps, numbers = (torch.from_numpy(array).to(device) for array in ahead(step))
        count = round(ROUND_TRIPS * batch) if known is not None or step >= ROUND_TRIPS_FROM * steps else 0
        if vae is not None and count:
            with reduced_precision(device):
                painted = round_trip(vae, pictures[:count], generator)
            pictures[:count] = painted.float()
        shade = BRIGHTNESS * torch.randn(batch, 3, 1, 1, generator=generator, device=device)
        grain = NOISE * torch.randn(pictures.shape, generator=generator, device=device)
        centres, colours = eye((pictures + shade + grain).clamp(0, 1))
        return eye_loss(centres, colours, bumps, numbers)

    trained = run_loop(eye, loss, settings, folder, "eye", device)
    assert isinstance(trained, Eye)
    return trained


def eye_accuracy(
    eye: Eye, count: int, seed: int, vae: AutoencoderKL | None = None, batch: int = 32, contents: Contents = WHOLE
) -> dict[str, Rate]:
    """The share of fresh scenes that are read fully right, of one thing and of two; after the VAE if it is given."""
    device = next(eye.parameters()).device
    found = {}
    for name, share in (("one", 0.0), ("two", 1.0)):
        scenes = draw_scenes(count, seed, share, contents)
        hits = 0
        for start in range(0, count, batch):
            some = scenes[start : start + batch]
            pictures = render(some).pictures.to(device)
            if vae is not None:
                pictures = round_trip(vae, pictures)
            hits += sum(agrees(seen, scene) for seen, scene in zip(eye.read(pictures), some, strict=True))
        found[name] = rate(hits, count)
    return found
