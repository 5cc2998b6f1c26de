"""Pulling an estimate of noise towards white noise: uncorrelated with itself, shifted, and normally distributed.

Parmar et al., "Zero-shot Image-to-Image Translation" (2023, pix2pix-zero), Sec. 3.1, Eq. 1 and 2. The gradients are in
closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Regularisation:
    """How the published inversion pulls a noise estimate towards white noise; the defaults are the published values.

    Attributes:
        rounds: rounds at each step.
        rolls: gradient steps on the auto-correlation in a round, each with shifts of its own.
        auto_correlation: their weight all together.
        kl: weight of the gradient step on the divergence from a normal distribution.
    """

    rounds: int = 5
    rolls: int = 5
    auto_correlation: float = 20.0
    kl: float = 20.0


PUBLISHED = Regularisation()


def regularised(noise: Tensor, settings: Regularisation, generators: Sequence[torch.Generator]) -> Tensor:
    """A noise estimate, (B, C, H, W), pulled towards white noise, each picture on its own."""
    for _ in range(settings.rounds):
        for _ in range(settings.rolls if settings.auto_correlation else 0):
            shifts = torch.stack([_shifts(noise.shape, generator) for generator in generators])
            step = auto_correlation_gradient(noise, shifts)
            noise = _descended(noise, settings.auto_correlation / settings.rolls * step)
        if settings.kl:
            noise = _descended(noise, settings.kl * kl_gradient(noise))
    return noise


def _descended(noise: Tensor, step: Tensor) -> Tensor:
    # The published weights are for pictures of 512 x 512; on very small ones a step can be longer than the noise
    # itself and run away. At the published size none comes near half of it.
    length, longest = (each.flatten(1).norm(dim=1) for each in (step, 0.5 * noise))
    share = torch.where(length > longest, longest / length, 1.0)
    return noise - share[:, None, None, None] * step


def kl_gradient(noise: Tensor) -> Tensor:
    """Gradient of var + mean^2 - 1 - log(var) in the noise, picture by picture; the variance is the unbiased one."""
    count = noise[0].numel()
    mean = noise.mean((1, 2, 3), keepdim=True)
    var = noise.var((1, 2, 3), keepdim=True)
    # The published code adds 1e-7 inside the logarithm.
    return 2 * (noise - mean) / (count - 1) * (1 - 1 / (var + 1e-7)) + 2 * mean / count


def auto_correlation_gradient(noise: Tensor, shifts: Tensor) -> Tensor:
    """Gradient in the noise of its squared correlation with itself, shifted, over a pyramid of halvings.

    Args:
        noise: (B, C, H, W).
        shifts: (B, C, L), how far each channel is shifted, down and to the right, at each level of the pyramid.
    """
    levels = [noise.flatten(0, 1)]
    for _ in range(shifts.shape[-1] - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    own = [_correlation_gradient(level, shift) for level, shift in zip(levels, shifts.flatten(0, 1).T, strict=True)]
    gradient = own.pop()
    for finer in reversed(own):
        spread = F.interpolate(gradient[None], scale_factor=2, mode="nearest")[0] / 4
        # An odd last row or column had no part in the halving.
        missing = finer.shape[-1] - spread.shape[-1], finer.shape[-2] - spread.shape[-2]
        gradient = finer + F.pad(spread, (0, missing[0], 0, missing[1]))
    return gradient.view_as(noise)


def _correlation_gradient(maps: Tensor, shift: Tensor) -> Tensor:
    """Gradient of mean(x . down(x))^2 + mean(x . right(x))^2 for each of (R, H, W) maps, shifted by ``shift`` (R,)."""
    total = torch.zeros_like(maps)
    shift = shift.to(maps.device)[:, None]
    for axis in (1, 2):
        place = torch.arange(maps.shape[axis], device=maps.device)
        there, back = ((place + sign * shift) % maps.shape[axis] for sign in (-1, 1))
        both = [_taken(maps, index, axis) for index in (there, back)]
        correlation = (maps * both[0]).mean((1, 2), keepdim=True)
        total = total + 2 * correlation * (both[0] + both[1]) / maps[0].numel()
    return total


def _taken(maps: Tensor, index: Tensor, axis: int) -> Tensor:
    """Rows (axis 1) or columns (axis 2) of each of (R, H, W) maps in the order of its line of ``index``."""
    spread = index[:, :, None] if axis == 1 else index[:, None, :]
    return maps.gather(axis, spread.expand_as(maps))


def _shifts(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """One draw of shifts for a picture, (C, L): below half the side of each level, whose sides go down to 8."""
    sides = [min(shape[-2:])]
    while sides[-1] > 8:
        sides.append(sides[-1] // 2)
    # The order and size of the draws are the published code's, so that its seeds keep their meaning.
    draws = [[torch.randint(max(1, side // 2), (1,), generator=generator) for side in sides] for _ in range(shape[1])]
    return torch.tensor([[int(draw) for draw in row] for row in draws])
