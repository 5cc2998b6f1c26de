"""How much of a picture's structure an edit keeps: the distance between DINO's self-similarities of keys.

Source: Tumanyan et al., "Splicing ViT Features for Semantic Appearance Transfer" (CVPR 2022); the edit tables use it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .loading import ScorerError, as_images, load

DEFAULT = "facebook/dino-vitb8"
SMALLEST = 1e-8


class DinoStructure:
    """Structure distance by the keys of a vision transformer's last layer.

    Raises:
        ScorerError: there is no such model, or it has no keys to look at.
    """

    def __init__(self, name: str = DEFAULT, device: str | torch.device = "cpu") -> None:
        from transformers import ViTImageProcessor, ViTModel

        self.model, self._processor = load(name, ViTModel, ViTImageProcessor, device)
        self._key = _last_key(self.model, name)

    def distances(self, before: Tensor, after: Tensor) -> list[float]:
        """One number for each pair of pictures (B, 3, H, W) in [0, 1]; 0 for the same structure."""
        return structure_distance(self.keys(before), self.keys(after)).tolist()

    @torch.no_grad()
    def keys(self, pictures: Tensor) -> Tensor:
        """(B, T, C): the keys of all tokens, heads side by side."""
        pixels = self._processor(images=as_images(pictures), return_tensors="pt")["pixel_values"]
        seen: list[Tensor] = []
        hook = self._key.register_forward_hook(lambda module, given, output: seen.append(output))
        try:
            self.model(pixel_values=pixels.to(self.model.device))
        finally:
            hook.remove()
        return seen[0].float()


def structure_distance(before: Tensor, after: Tensor) -> Tensor:
    """Mean squared difference of the tokens' cosine similarities with one another: keys (B, T, C) to (B,)."""
    return (_self_similarity(before) - _self_similarity(after)).square().mean((1, 2))


def _self_similarity(keys: Tensor) -> Tensor:
    lengths = keys.norm(dim=-1)
    scale = (lengths[:, :, None] * lengths[:, None, :]).clamp(min=SMALLEST)
    return keys @ keys.transpose(1, 2) / scale


def _last_key(model: Any, name: str) -> nn.Module:
    """The key projection of the last layer, whatever the release of transformers calls it."""
    found = [module for path, module in model.named_modules() if path.endswith((".k_proj", ".attention.key"))]
    if not found:
        raise ScorerError(f"the scorer {name!r} has no key projections: it should be a ViTModel such as {DEFAULT}")
    return found[-1]
