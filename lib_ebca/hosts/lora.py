"""LoRA at the scale that one call of a diffusers pipeline asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from diffusers.utils import is_peft_available, scale_lora_layers, unscale_lora_layers
from torch import nn


@contextmanager
def lora_scaled(models: Sequence[nn.Module], scale: float | None) -> Iterator[None]:
    """Models with their LoRA at the scale of the call, as diffusers does it itself."""
    if scale is None or not is_peft_available():
        yield
        return
    for model in models:
        scale_lora_layers(model, scale)
    try:
        yield
    finally:
        for model in models:
            unscale_lora_layers(model, scale)
