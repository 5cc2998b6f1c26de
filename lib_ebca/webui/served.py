"""Which of the host's models can be served."""

from __future__ import annotations

from typing import Any

from modules import sd_unet

from lib_ebca.hosts import ldm


def forge(model: Any) -> bool:
    """Whether a model is one of Forge's or reForge's, which run their networks in a way of their own."""
    return hasattr(model, "forge_objects")


def unserved(model: Any) -> str | None:
    """Why a model passes through unchanged, as one sentence for the user; None if it can be served."""
    if forge(model):
        return "EBCA was not applied: it serves AUTOMATIC1111, and this WebUI is Forge or one made of it."
    if getattr(sd_unet, "current_unet", None) is not None:
        return "EBCA was not applied: an alternative UNet (TensorRT, for instance) is in use."
    if not ldm.cross_attention_layers(model.model.diffusion_model):
        return "EBCA was not applied: it serves Stable Diffusion 1, 2 and XL, and this model is of another kind."
    return None
