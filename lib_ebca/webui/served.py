"""Which of the host's models can be served."""

from __future__ import annotations

from typing import Any

from modules import sd_unet

from lib_ebca.hosts import ldm
from lib_ebca.webui.hosting import hosting


def unserved(model: Any) -> str | None:
    """Why a model passes through unchanged, as one sentence for the user; None if it can be served."""
    if getattr(sd_unet, "current_unet", None) is not None:
        return "EBCA was not applied: an alternative UNet (TensorRT, for instance) is in use."
    if not ldm.cross_attention_layers(hosting(model).unet):
        return "EBCA was not applied: it serves Stable Diffusion 1, 2 and XL, and this model is of another kind."
    return None
