"""Stability's newer package, sgm (SDXL): the same attention under other arguments. A UNet of ldm made over into it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.hosts import tiny_ldm


class CrossAttention(nn.Module):
    """As sgm defines it: tokens that stand before the pixels for one call, and a count that video models use."""

    def __init__(self, like: Any) -> None:
        super().__init__()
        self.heads, self.scale, self.backend = like.heads, like.scale, None
        self.to_q, self.to_k, self.to_v, self.to_out = like.to_q, like.to_k, like.to_v, like.to_out

    def forward(
        self,
        x: Tensor,
        context: Tensor | None = None,
        mask: Tensor | None = None,
        additional_tokens: Tensor | None = None,
        n_times_crossframe_attn_in_self: int = 0,
    ) -> Tensor:
        before = 0 if additional_tokens is None else additional_tokens.shape[1]
        if additional_tokens is not None:
            x = torch.cat([additional_tokens, x], dim=1)
        return tiny_ldm.sdp(self, x, context, mask)[:, before:]


CrossAttention.__module__ = CrossAttention.forward.__module__ = "sgm.modules.attention"


def _block(self: Any, x: Tensor, context: Tensor | None = None, additional_tokens: Tensor | None = None) -> Tensor:
    x = self.attn1(self.norm1(x), context=None, additional_tokens=additional_tokens) + x
    x = self.attn2(self.norm2(x), context=context, additional_tokens=additional_tokens) + x
    output: Tensor = self.ff(self.norm3(x)) + x
    return output


def unet(seed: int = 0) -> Any:
    """:func:`tiny_ldm.unet`, attending and calling as sgm does, with the same weights."""
    model: Any = tiny_ldm.unet(seed=seed)
    blocks = [module for module in model.modules() if hasattr(module, "attn2")]
    kind = type("BasicTransformerBlock", (type(blocks[0]),), {"_forward": _block, "forward": _block})
    for block in blocks:
        block.attn1, block.attn2 = CrossAttention(block.attn1), CrossAttention(block.attn2)
        block.__class__ = kind
    return model
