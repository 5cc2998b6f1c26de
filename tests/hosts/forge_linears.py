"""Linear layers as the hosts of the Forge family have them: cast, scaled, patched or packed when they are used."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """Forge's: no ``nn.Linear``; a scale and networks that are added on the fly act in forward alone."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.scale_weight: Tensor | None = None
        self.forge_online_loras: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)
        if self.scale_weight is not None:
            weight = weight * self.scale_weight
        for added in self.forge_online_loras.values():
            weight = weight + added
        return F.linear(x, weight, self.bias)


class CastingLinear(nn.Linear):
    """Neo's and reForge's: a kind of ``nn.Linear`` whose weight passes through functions."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias is not None)
        self.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias, requires_grad=False)
        self.weight_function: list[Callable[[Tensor], Tensor]] = []

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight.to(input.dtype)
        for function in self.weight_function:
            weight = function(weight)
        return F.linear(input, weight, self.bias)


class PackedLinear(nn.Module):
    """A weight of 8 bits in a row, with a scale for each of its outputs."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self._shape = weight.shape
        self.scale = weight.abs().amax(1, keepdim=True) / 127
        self.weight = nn.Parameter((weight / self.scale).round().to(torch.int8).flatten(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, (self.weight.view(self._shape) * self.scale).to(x.dtype))
