"""Do the maps mean something? Where cross-attention looks for a shape's word, held against where the shape is.

The pointing game (Zhang et al., "Top-down Neural Attention by Excitation Backprop", 2016): a word scores where the
strongest place of its map lies on its object.
"""

from __future__ import annotations

import math

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from world.shapes.captions import FIRST, OBJECT_SLOTS, SECOND, WORDS, write_captions
from world.shapes.render import render
from world.shapes.scenes import sample_scenes

from .evaluate import Rate, rate
from .grounding import FIRST_OBJECT, SECOND_OBJECT, watch
from .tokenizer import CaptionTokens
from .worlds import shapes_regions

TIMESTEP = 500
# A place counts as on the object where at least this share of it is.
COVERED = 0.5
SHAPE_SLOT = OBJECT_SLOTS - 1


@torch.no_grad()
def pointing(pipeline: StableDiffusionPipeline, pictures: int, seed: int) -> dict[str, Rate]:
    """Hits of shape words in noisy scenes of two objects, by the size of the map; "chance" is a blind guess.

    The caption is the scene's own. The maps of all layers of a size are averaged. `pictures` scenes give about twice as
    many words; the UNet's attention is spelt out meanwhile and put back.
    """
    generator = torch.Generator().manual_seed(seed)
    scenes = sample_scenes(pictures, generator, double_share=1.0)
    captions = write_captions(scenes, generator)
    tokens = CaptionTokens(pipeline.tokenizer, "cpu", WORDS)
    device = pipeline.unet.device
    latents = pipeline.vae.encode((2 * render(scenes) - 1).to(device)).latent_dist.mean
    latents = latents * pipeline.vae.config.scaling_factor
    noise = torch.randn(latents.shape, generator=generator).to(device)
    kept = pipeline.scheduler.alphas_cumprod[TIMESTEP].to(device)
    context = pipeline.text_encoder(tokens(captions.words).to(device)).last_hidden_state
    before = dict(pipeline.unet.attn_processors)
    watched = watch(pipeline.unet)
    try:
        pipeline.unet(kept.sqrt() * latents + (1 - kept).sqrt() * noise, TIMESTEP, encoder_hidden_states=context)
    finally:
        pipeline.unet.set_attn_processor(before)
    maps = by_side([layer.take().float().cpu() for layer in watched])
    slots, where = tokens.slots(captions.words), shapes_regions(scenes)
    counts: dict[str, list[int]] = {}
    areas: list[float] = []
    for owner, start in ((FIRST_OBJECT, FIRST), (SECOND_OBJECT, SECOND)):
        named = captions.names_shape[:, owner].nonzero()[:, 0]
        places = (slots[named] == start + SHAPE_SLOT).int().argmax(1)
        areas += where[named, owner].mean((1, 2)).tolist()
        for side, map in maps.items():
            strongest = map[named, :, places].argmax(1)
            covered = torch.nn.functional.adaptive_avg_pool2d(where[named, owner], side).flatten(1)
            hits = covered.gather(1, strongest[:, None])[:, 0] >= COVERED
            counts.setdefault(f"{side}x{side}", []).extend(hits.int().tolist())
    found = {size: rate(sum(hits), len(hits)) for size, hits in counts.items()}
    return {**found, "chance": rate(round(sum(areas)), len(areas))}


def by_side(maps: list[Tensor]) -> dict[int, Tensor]:
    """The mean of the maps (B, places, words) of each side, largest first."""
    sides = sorted({math.isqrt(map.shape[1]) for map in maps}, reverse=True)
    return {side: torch.stack([map for map in maps if map.shape[1] == side**2]).mean(0) for side in sides}
