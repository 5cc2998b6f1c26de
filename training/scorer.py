"""A small CLIP of the book world: a tower for pictures and one for sentences, trained on drawings and their captions.

It is a transformers CLIPModel, so that whatever scores pictures with CLIP can score them with this. Source: Radford
et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021.
"""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from world.book.captions import describe
from world.book.contents import Contents
from world.book.render import render
from world.book.scenes import Scene, Thing
from world.book.vocabulary import COLOURS

from .evaluate import Rate, rate
from .eye import draw_scenes, round_trip
from .loop import LoopSettings, reduced_precision, run_loop, step_generator
from .tokenizer import LENGTH, CaptionTokens, save_tokenizer
from .worlds import Samples, World

# CLIP's own, which every processor and every protocol knows.
MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PATCH = 16
DOUBLE_SHARE = 0.5


class Towers(nn.Module):
    """The CLIPModel, called by what the training needs of it."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, pictures: Tensor, ids: Tensor) -> Tensor:
        """(B, B) scaled likenesses of pictures (B, 3, S, S) in [0, 1] and captions (B, 77), a row a picture."""
        mean, spread = (pictures.new_tensor(v)[:, None, None] for v in (MEAN, SPREAD))
        found = self.clip(input_ids=ids, pixel_values=(pictures - mean) / spread)
        return torch.as_tensor(found.logits_per_image)


def make_clip(
    tokenizer: CLIPTokenizer, size: int, width: int = 128, layers: int = 4, projection: int = 128
) -> CLIPModel:
    """A fresh CLIPModel for pictures of `size` pixels."""
    heads = max(1, width // 32)
    shared = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "projection_dim": projection,
    }
    text = {
        **shared,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**shared, "image_size": size, "patch_size": PATCH}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection))


def contrast(likeness: Tensor, ids: Tensor) -> Tensor:
    """The symmetric cross-entropy of (B, B) likenesses; pictures that share a caption are each right for it."""
    same = (ids[:, None] == ids[None]).all(-1).to(likeness.dtype)
    shares = same / same.sum(1, keepdim=True)
    return (functional.cross_entropy(likeness, shares) + functional.cross_entropy(likeness.T, shares)) / 2


def train_scorer(
    folder: Path,
    settings: LoopSettings,
    batch: int,
    device: torch.device,
    seed: int,
    tokenizer: CLIPTokenizer,
    world: World,
    width: int = 128,
    layers: int = 4,
) -> CLIPModel:
    """Train (or resume) the scorer; averaged weights."""
    torch.manual_seed(seed + 3)
    towers = Towers(make_clip(tokenizer, world.size, width, layers, width)).to(device)
    samples = Samples(world, batch, seed + 3, device, lambda step: DOUBLE_SHARE)
    tokens = CaptionTokens(tokenizer, device, world.words)

    def loss(step: int, steps: int) -> Tensor:
        sample = samples(step, step_generator(device, seed + 3, step))
        ids = tokens(sample.words)
        # What stands after a caption's end is looked at by nothing.
        ids = ids[:, : 1 + int((ids == tokenizer.eos_token_id).int().argmax(1).max())]
        with reduced_precision(device):
            likeness = towers(sample.pictures, ids)
        return contrast(likeness.float(), ids)

    trained = run_loop(towers, loss, settings, folder, "scorer", device)
    assert isinstance(trained, Towers)
    return trained.clip


@torch.no_grad()
def scorer_accuracy(
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    contents: Contents,
    count: int,
    seed: int,
    vae: AutoencoderKL | None = None,
    batch: int = 32,
) -> dict[str, Rate]:
    """The share of fresh pictures of two things whose own caption is more like them than a caption that is wrong in one
    word: another noun for a thing, or another colour for a coloured one; after the VAE if it is given."""
    device = next(clip.parameters()).device
    towers = Towers(clip)
    draw = random.Random(seed)
    found = {}
    for name, change in (("noun", other_noun), ("colour", other_colour)):
        pairs: list[tuple[Scene, str, str]] = []
        while len(pairs) < count:
            (scene,) = draw_scenes(1, draw.randrange(2**31), 1.0, contents)
            wrong = None if scene.worn else change(scene, contents, draw)
            if wrong is not None:
                pairs.append((scene, describe(scene), describe(wrong)))
        hits = 0
        for start in range(0, count, batch):
            some = pairs[start : start + batch]
            pictures = render([scene for scene, _, _ in some]).pictures.to(device)
            if vae is not None:
                pictures = round_trip(vae, pictures)
            texts = [text for _, right, wrong in some for text in (right, wrong)]
            ids = tokenizer(texts, padding=True, return_tensors="pt").input_ids.to(device)
            likeness = towers(pictures, ids).reshape(len(some), len(some), 2)
            own = likeness[torch.arange(len(some)), torch.arange(len(some))]
            hits += int((own[:, 0] > own[:, 1]).sum())
        found[name] = rate(hits, count)
    return found


def _with_first(scene: Scene, draw: random.Random, changed: Callable[[Thing], Thing | None]) -> Scene | None:
    """The scene with one of its things changed, the first that can be in a random order."""
    for place in draw.sample(range(len(scene.things)), len(scene.things)):
        thing = changed(scene.things[place])
        if thing is not None:
            things = tuple(thing if n == place else other for n, other in enumerate(scene.things))
            return dataclasses.replace(scene, things=things)
    return None


def other_noun(scene: Scene, contents: Contents, draw: random.Random) -> Scene | None:
    """The scene with another noun for one of its things."""
    others = [noun for noun in contents.nouns if noun not in {thing.noun for thing in scene.things}]
    return _with_first(scene, draw, lambda thing: dataclasses.replace(thing, noun=draw.choice(others)))


def other_colour(scene: Scene, contents: Contents, draw: random.Random) -> Scene | None:
    """The scene with another colour for one of its coloured things; None if it has none."""

    def recoloured(thing: Thing) -> Thing | None:
        others = [colour for colour in COLOURS if colour not in {each.colour for each in scene.things}]
        return None if thing.colour is None else dataclasses.replace(thing, colour=draw.choice(others))

    return _with_first(scene, draw, recoloured)


def save_scorer(clip: CLIPModel, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write a folder that CLIPModel and CLIPProcessor load, under another name first."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    clip.to("cpu", torch.float16).save_pretrained(part, safe_serialization=True)
    size = clip.config.vision_config.image_size
    save_tokenizer(tokenizer, part)
    processor = CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size=size, image_mean=list(MEAN), image_std=list(SPREAD)
    )
    processor.save_pretrained(part)
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
