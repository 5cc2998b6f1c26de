"""Where a denoiser begins: at the weights of a model that already knows how a sentence and a picture hang together.

Colours, backgrounds, one thing beside another and which word is whose are the same in every world, so a model of
another world, or an earlier edition of the same one, is a far better beginning than chance.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .denoiser import Denoiser

EMBEDDING = "token_embedding.weight"


@torch.no_grad()
def begin_with(denoiser: Denoiser, tokenizer: CLIPTokenizer, folder: Path) -> float:
    """Take over from the model in `folder` what has the same name and shape, and the embeddings of the same tokens.

    Returns the share of the denoiser's values that were taken. Raises OSError where `folder` holds no model.
    """
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder").to(torch.float32)
    known = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
    taken = _take(denoiser.unet, unet.state_dict()) + _take(denoiser.text_encoder, text.state_dict())
    for name, parameter in denoiser.text_encoder.named_parameters():
        if name.endswith(EMBEDDING):
            same = [(new, known[token]) for token, new in tokenizer.get_vocab().items() if token in known]
            rows, found = (torch.tensor(numbers) for numbers in zip(*same, strict=True))
            parameter[rows] = text.state_dict()[name][found]
            taken += len(same) * parameter.shape[1]
    return taken / sum(parameter.numel() for parameter in denoiser.parameters())


def _take(module: nn.Module, found: dict[str, Tensor]) -> int:
    """Copy what fits, but token embeddings, whose rows mean other tokens; returns the number of values copied."""
    taken = 0
    for name, parameter in module.named_parameters():
        if name in found and found[name].shape == parameter.shape and not name.endswith(EMBEDDING):
            parameter.copy_(found[name])
            taken += parameter.numel()
    return taken


def earlier_runs(start: Path) -> list[dict[str, Any]]:
    """World and steps of every training that led to a model, as its card has them, the oldest first."""
    path = start / "card.json"
    if not path.exists():
        return []
    card = json.loads(path.read_text(encoding="utf-8"))
    own = {"world": card["recipe"].get("world", "shapes"), "steps": card["runs"]["denoiser"]["steps"]}
    return [*card.get("before", []), own]


def steps_before(start: Path | None) -> int:
    """The steps of all trainings that led to the model in `start`; 0 where there is none, or it has no card.

    As a seed it is one that none of them had: scenes depend on seed and step alone, so a training that went on with an
    old seed would see what it knows already.
    """
    return 0 if start is None else sum(run["steps"] for run in earlier_runs(start))
