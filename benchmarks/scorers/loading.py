"""Networks of the scorers, from a hub id or a folder, with one sentence where one is not at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

OWN = "scorer"
"""The folder of the small CLIP that was made with a model of the book world."""


class ScorerError(ValueError):
    """A scorer cannot be had or cannot score; one sentence says why, and what would be right."""


def scorer_of(model: Path) -> Path | None:
    """The CLIP that was made with the model in that folder, if there is one."""
    folder = model / OWN
    return folder if (folder / "config.json").is_file() else None


def load(name: str, model: type[Any], processor: type[Any], device: str | torch.device = "cpu") -> tuple[Any, Any]:
    """A network of transformers in evaluation mode, and its processor.

    Args:
        name: hub id or folder.
        model: its class.
        processor: the class of its processor.

    Raises:
        ScorerError: neither the folder nor the hub gives it.
    """
    try:
        return model.from_pretrained(name).eval().to(device), processor.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        kind = model.__name__
        raise ScorerError(
            f"the scorer {name!r} is not at hand: give a folder or a reachable hub id of a {kind} ({first})"
        ) from None


def as_images(pictures: Tensor) -> list[Image.Image]:
    """Pictures (B, 3, H, W) in [0, 1] as Pillow images, which every processor reads alike."""
    pixels = (pictures.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array) for array in pixels]
