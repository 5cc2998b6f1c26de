"""UNets of the true architectures with random weights, and the inputs of one evaluation: nothing is downloaded."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

TOKENS = 77
"""Length of a context of one chunk."""

_CROSS_DOWN, _CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"

ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "sd15": {
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": 8,
        "cross_attention_dim": 768,
    },
    "sd21": {
        "block_out_channels": (320, 640, 1280, 1280),
        "attention_head_dim": (5, 10, 20, 20),
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
    },
    "sdxl": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", _CROSS_DOWN, _CROSS_DOWN),
        "up_block_types": (_CROSS_UP, _CROSS_UP, "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "tiny": {
        "block_out_channels": (16, 32),
        "down_block_types": (_CROSS_DOWN, _CROSS_DOWN),
        "up_block_types": (_CROSS_UP, _CROSS_UP),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 4,
        "cross_attention_dim": 24,
    },
}
"""Arguments of ``UNet2DConditionModel`` where they differ from its defaults. ``attention_head_dim`` is the number of
heads: diffusers has kept the misnomer for the sake of old checkpoints."""


@dataclass(frozen=True)
class Inputs:
    """What one evaluation of the UNet reads: B = 2 x pictures rows, the unconditional ones first.

    Attributes:
        sample: (B, 4, h, w).
        context: (B, T, D).
        added: SDXL's pooled prompt (B, 1280) and time ids (B, 6), else None.
        edits: four editorial contexts, (T, D) each.
    """

    sample: Tensor
    context: Tensor
    added: dict[str, Tensor] | None
    edits: tuple[Tensor, ...]

    def with_perturbed_rows(self) -> Inputs:
        """The conditional rows once more, as perturbed-attention guidance wants them: 3 x pictures rows."""

        def thrice(rows: Tensor) -> Tensor:
            return torch.cat((rows, rows[rows.shape[0] // 2 :]))

        added = None if self.added is None else {name: thrice(value) for name, value in self.added.items()}
        return Inputs(thrice(self.sample), thrice(self.context), added, self.edits)


def build(architecture: str, device: torch.device, dtype: torch.dtype) -> UNet2DConditionModel:
    """A UNet with random weights whose activations stay within float16."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**ARCHITECTURES[architecture])
    fill(unet, device, dtype)
    return unet


def fill(unet: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Give weights to a network that was laid out on the meta device.

    They come from one small tile of normal numbers: diffusers' own initialisation of SDXL takes longer than the
    measurement.
    """
    # Module.to and not diffusers' own, which warns of a cast although there is nothing yet to lose precision.
    torch.nn.Module.to(unet, dtype).to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    # An odd length, so that no two rows of a matrix are alike.
    tile = torch.randn(999_983, generator=generator).to(device)
    for name, parameter in unet.named_parameters():
        if parameter.ndim > 1:
            scaled = (tile * parameter[0].numel() ** -0.5).to(dtype)
            for stretch in parameter.view(-1).split(len(tile)):
                stretch.copy_(scaled[: len(stretch)])
        else:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)


def twin(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same model as another object that shares the weights, so that it can be patched or compiled on its own."""
    return copy.deepcopy(unet, {id(weight): weight for weight in unet.parameters()})


def inputs(unet: UNet2DConditionModel, pictures: int, size: tuple[int, int]) -> Inputs:
    """Random inputs for ``pictures`` guided pictures with latents of ``size`` = height, width."""
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(unet.device, unet.dtype)

    rows, width = 2 * pictures, unet.config.cross_attention_dim
    added = None
    if unet.config.addition_embed_type == "text_time":
        ids = torch.tensor([[8 * size[0], 8 * size[1], 0, 0, 8 * size[0], 8 * size[1]]] * rows)
        added = {"text_embeds": normal(rows, 1280), "time_ids": ids.to(unet.device, unet.dtype)}
    context = normal(rows, TOKENS, width)
    return Inputs(normal(rows, 4, *size), context, added, tuple(normal(TOKENS, width) for _ in range(4)))
