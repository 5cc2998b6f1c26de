"""A small CLIP of the book world: a tower for pictures and one for sentences, trained on drawings and their captions.

It is a transformers CLIPModel, so that whatever scores pictures with CLIP can score them with this. Source: Radford
et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

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
