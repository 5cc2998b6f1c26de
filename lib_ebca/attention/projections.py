"""What a host's cross-attention layer is made of, and which of a text's tokens it masks out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Projections:
    """What a host's cross-attention layer is made of.

    Attributes:
        index: the layer's place in the order of execution.
        name: its name in the host.
        to_q: (B, N, C_in) to (B, N, C).
        to_k: (B, T, D) to (B, T, C).
        to_v: (B, T, D) to (B, T, C).
        to_out: (B, N, C) to the layer's output, W_o and what follows it.
        heads: number of heads.
        scale: beta; None is 1 / sqrt(d).
    """

    index: int
    name: str
    to_q: nn.Module
    to_k: nn.Module
    to_v: nn.Module
    to_out: Callable[[Tensor], Tensor]
    heads: int
    scale: float | None = None

    @property
    def sources(self) -> tuple[nn.Module, nn.Module]:
        """What keys, values and the update's way back are made of."""
        return getattr(self.to_k, "asked", self.to_k), self.to_v


@dataclass(frozen=True)
class TextMask:
    """Tokens of the main context that a host masks out, which take no part in its update.

    Attributes:
        bias: (B or 1, T), added to the scores: a large negative number where a token is masked out.
        attend: the layer without it, for the editorial contexts, which the mask is not of.
    """

    bias: Tensor
    attend: Callable[[Tensor], Tensor]
