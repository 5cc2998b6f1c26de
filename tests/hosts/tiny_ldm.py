"""Stability's UNetModel at tiny size, the same weights in diffusers' form, and the WebUI's ways of attending."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONTEXT = 24
Forward = Callable[..., Tensor]


def attention_class() -> Any:
    """ldm's CrossAttention."""
    return importlib.import_module("ldm.modules.attention").CrossAttention


def unet(in_channels: int = 4, seed: int = 0, heads: int = 4) -> nn.Module:
    """Two levels with cross-attention at each, and random weights everywhere, the zero-initialised ones included."""
    kind = importlib.import_module("ldm.modules.diffusionmodules.openaimodel").UNetModel
    torch.manual_seed(seed)  # the biases are drawn on construction
    model: nn.Module = kind(
        image_size=8,
        in_channels=in_channels,
        out_channels=4,
        model_channels=32,
        attention_resolutions=[1, 2],
        num_res_blocks=1,
        channel_mult=[1, 2],
        num_heads=heads,
        use_spatial_transformer=True,
        transformer_depth=1,
        context_dim=CONTEXT,
        use_checkpoint=False,
        legacy=False,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                fan = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / math.sqrt(fan))
    return model.eval().requires_grad_(False)


def twin(model: nn.Module, in_channels: int = 4, heads: int = 4) -> nn.Module:
    """diffusers' UNet with the weights of ``unet``."""
    from diffusers import UNet2DConditionModel  # only the comparison of the hosts needs it
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = {
        "sample_size": 8,
        "in_channels": in_channels,
        "out_channels": 4,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": CONTEXT,
        "attention_head_dim": heads,
    }
    weights = {f"model.diffusion_model.{name}": value for name, value in model.state_dict().items()}
    result: nn.Module = UNet2DConditionModel(**config)
    result.load_state_dict(convert_ldm_unet_checkpoint(weights, config))
    return result.eval().requires_grad_(False)


def _heads(states: Tensor, heads: int) -> Tensor:
    batch, length, width = states.shape
    return states.view(batch, length, heads, width // heads).transpose(1, 2)


def _merged(states: Tensor) -> Tensor:
    return states.transpose(1, 2).flatten(2)


def _projected(layer: Any, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    read = x if context is None else context
    projected = layer.to_q(x), layer.to_k(read), layer.to_v(read)
    query, key, value = (_heads(states, layer.heads) for states in projected)
    return query, key, value


def sdp(self: Any, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, **keywords: Any) -> Tensor:
    """The fused kernel."""
    query, key, value = _projected(self, x, context)
    return self.to_out(_merged(F.scaled_dot_product_attention(query, key, value, attn_mask=mask)))


def sdp_no_mem(
    self: Any, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, **keywords: Any
) -> Tensor:
    """The fused kernel without its memory-saving forms."""
    if hasattr(torch.nn, "attention"):
        kernel = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    else:  # before torch 2.3
        kernel = torch.backends.cuda.sdp_kernel(enable_flash=False, enable_math=True, enable_mem_efficient=False)
    with kernel:
        return sdp(self, x, context, mask, **keywords)


def plain(self: Any, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, **keywords: Any) -> Tensor:
    """No optimisation: the whole matrix at once."""
    query, key, value = _projected(self, x, context)
    scores = (query @ key.transpose(-1, -2) * self.scale).softmax(-1)
    return self.to_out(_merged(scores @ value))


def split_v1(
    self: Any, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, **keywords: Any
) -> Tensor:
    """Two heads of all rows at a time."""
    query, key, value = (states.flatten(0, 1) for states in _projected(self, x, context))
    parts = [
        (query[i : i + 2] @ key[i : i + 2].transpose(-1, -2) * self.scale).softmax(-1) @ value[i : i + 2]
        for i in range(0, len(query), 2)
    ]
    return self.to_out(_merged(torch.cat(parts).unflatten(0, (x.shape[0], self.heads))))


def doggettx(
    self: Any, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, **keywords: Any
) -> Tensor:
    """Slices of the pixels, the keys scaled beforehand."""
    query, key, value = _projected(self, x, context)
    key = key * self.scale
    step = max(1, query.shape[2] // 3)
    parts = [(part @ key.transpose(-1, -2)).softmax(-1) @ value for part in query.split(step, dim=2)]
    return self.to_out(_merged(torch.cat(parts, dim=2)))


def invoke_ai(
    self: Any, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, **keywords: Any
) -> Tensor:
    """One head after the other, the keys scaled beforehand."""
    query, key, value = _projected(self, x, context)
    key = key * self.scale
    parts = [(query[:, i] @ key[:, i].transpose(-1, -2)).softmax(-1) @ value[:, i] for i in range(self.heads)]
    return self.to_out(_merged(torch.stack(parts, dim=1)))


def sub_quad(
    self: Any, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None, **keywords: Any
) -> Tensor:
    """Slices of the tokens, their softmax put together from running maxima."""
    query, key, value = _projected(self, x, context)
    top = torch.full(query.shape[:3], -torch.inf)[..., None]
    total, summed = torch.zeros_like(top), torch.zeros_like(query)
    for keys, values in zip(key.split(5, dim=2), value.split(5, dim=2), strict=True):
        scores = query @ keys.transpose(-1, -2) * self.scale
        higher = torch.maximum(top, scores.amax(-1, keepdim=True))
        kept, weights = (top - higher).exp(), (scores - higher).exp()
        total = total * kept + weights.sum(-1, keepdim=True)
        summed = summed * kept + weights @ values
        top = higher
    return self.to_out(_merged(summed / total))


OPTIMISATIONS: dict[str, Forward] = {
    "none": plain,
    "split v1": split_v1,
    "doggettx": doggettx,
    "invokeAI": invoke_ai,
    "sub-quadratic": sub_quad,
    "sdp": sdp,
    "sdp-no-mem": sdp_no_mem,
}
"""The ways of attending among which the WebUI's user can choose, each in a form of our own."""

for _forward in OPTIMISATIONS.values():
    _forward.__module__ = "modules.sd_hijack_optimizations"
