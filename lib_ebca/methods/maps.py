"""What the pixels of a layer look at, as pictures of words: shares of the text, and their smoothing.

Chefer et al., "Attend-and-Excite" (SIGGRAPH 2023), and its published code where the two differ. N is the number of
pixels, T of tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SHARPNESS = 100.0
"""What the published code multiplies probabilities by before the softmax over the words."""
KERNELS = ("published", "gaussian")


def text_shares(probabilities: Tensor, text: Tensor, sharpness: float = SHARPNESS) -> Tensor:
    """How the words of a prompt share each pixel: a softmax over some of the tokens.

    Args:
        probabilities: (..., N, T), attention averaged over heads and layers.
        text: (..., T) of bool, the tokens that take part: all but the beginning and the last place, or the words alone.
        sharpness: what the probabilities are multiplied by.

    Returns:
        (..., N, T); tokens that take no part have 0.
    """
    scores = (sharpness * probabilities).masked_fill(~text.unsqueeze(-2), -math.inf)
    return scores.softmax(-1)


def smoothing_kernel(
    kind: str = "published", sigma: float = 0.5, size: int = 3, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Weights of a separable blur, (size, size), summing to 1.

    "published" is exp(-(x / (2 sigma))^2) in one dimension, whose standard deviation is sigma * sqrt(2); "gaussian" the
    Gaussian exp(-x^2 / (2 sigma^2)) that its name promises.
    """
    if kind not in KERNELS:
        raise ValueError(f"kernel is {kind!r}: it should be one of {', '.join(KERNELS)}")
    offsets = torch.arange(size, dtype=dtype) - (size - 1) / 2
    divisor = 4.0 if kind == "published" else 2.0
    line = torch.exp(-offsets.square() / (divisor * sigma * sigma))
    kernel = torch.outer(line, line)
    return kernel / kernel.sum()


def smoothed(maps: Tensor, kernel: Tensor) -> Tensor:
    """Maps (S, h, w) blurred by an odd kernel, their borders mirrored; a side of one pixel is repeated instead."""
    margin = kernel.shape[-1] // 2
    mode = "reflect" if min(maps.shape[-2:]) > margin else "replicate"
    padded = F.pad(maps[:, None], (margin,) * 4, mode=mode)
    return F.conv2d(padded, kernel.to(maps)[None, None])[:, 0]
