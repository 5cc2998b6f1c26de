"""Noise levels: the table a model was trained with, and the schedules by which AUTOMATIC1111's WebUI walks down it.

Latents here are variance exploding: x = x0 + sigma * noise. A level is a sigma; the network is told its timestep, which
may lie between two of the trained ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class NoiseTable:
    """`alphas_cumprod` (T,) in float32: how much of the picture's variance is left at each trained timestep."""

    alphas_cumprod: Tensor

    @classmethod
    def of_betas(cls, betas: Tensor) -> NoiseTable:
        """From the variances (T,) added at each step, best in float64."""
        return cls((1 - betas).cumprod(0).float())

    @cached_property
    def sigmas(self) -> Tensor:
        """(T,), rising."""
        return ((1 - self.alphas_cumprod) / self.alphas_cumprod) ** 0.5

    @cached_property
    def log_sigmas(self) -> Tensor:
        """(T,), rising."""
        return self.sigmas.log()

    @property
    def first(self) -> int:
        """The timestep of the smallest level."""
        return 0

    @property
    def last(self) -> int:
        """The timestep of the largest level."""
        return len(self.alphas_cumprod) - 1

    def picture(self, latent: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        """What is left of the latent without the noise that the network sees in it."""
        return latent - sigma * noise

    def timestep(self, sigma: Tensor) -> Tensor:
        """Where a level lies among the trained ones: linear in log sigma between two of them, held at the ends."""
        log_sigma = sigma.log()
        last = len(self.log_sigmas) - 1
        below = (torch.searchsorted(self.log_sigmas, log_sigma) - 1).clamp(0, last - 1)
        low, high = self.log_sigmas[below], self.log_sigmas[below + 1]
        return below + ((log_sigma - low) / (high - low)).clamp(0, 1)

    def sigma(self, timestep: Tensor) -> Tensor:
        """The level at a timestep, which may lie between two trained ones."""
        below, above, part = timestep.floor().long(), timestep.ceil().long(), timestep.frac()
        return ((1 - part) * self.log_sigmas[below] + part * self.log_sigmas[above]).exp()


@dataclass(frozen=True, eq=False)
class ConsistencyTable(NoiseTable):
    """The levels that latent consistency models were distilled at (Luo et al. 2023), and their boundary scaling.

    `alphas_cumprod` holds them alone: every `stride`-th of the trained ones.
    """

    stride: int

    @classmethod
    def within(cls, table: NoiseTable, levels: int = 50) -> ConsistencyTable:
        """The `levels` of a model's table."""
        stride = len(table.alphas_cumprod) // levels
        return cls(table.alphas_cumprod[stride - 1 :: stride], stride)

    @property
    def first(self) -> int:
        """The timestep of the smallest level."""
        return self.stride - 1

    @property
    def last(self) -> int:
        """The timestep of the largest level."""
        return self.stride * len(self.alphas_cumprod) - 1

    def timestep(self, sigma: Tensor) -> Tensor:
        """The nearest one that was distilled."""
        return (sigma.log() - self.log_sigmas).abs().argmin() * self.stride + self.stride - 1

    def sigma(self, timestep: Tensor) -> Tensor:
        """The level at a timestep, which may lie between two of them."""
        place = (timestep - self.first) / self.stride
        return super().sigma(place.clamp(0, len(self.alphas_cumprod) - 1))

    def picture(self, latent: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        """A share of the latent itself stays, as in the distillation: next to none of it but at the lowest level."""
        scaled, data = self.timestep(sigma) * 10.0, 0.5
        size = scaled**2 + data**2
        return scaled / size**0.5 * super().picture(latent, sigma, noise) + data**2 / size * latent


def uniform(count: int, table: NoiseTable) -> Tensor:
    """Even in timesteps from the last to the first."""
    return _ended(table.sigma(torch.linspace(table.last, table.first, count)))


def karras(count: int, table: NoiseTable, rho: float = 7.0) -> Tensor:
    """Karras et al. 2022, equation 5: even in sigma^(1/rho)."""
    low, high = _ends(table)
    ramp = torch.linspace(0, 1, count)
    return _ended((high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho)


def exponential(count: int, table: NoiseTable) -> Tensor:
    """Even in log sigma."""
    low, high = _ends(table)
    return _ended(torch.linspace(math.log(high), math.log(low), count).exp())


def sgm_uniform(count: int, table: NoiseTable) -> Tensor:
    """Even in timesteps, the last stretch going to zero at once."""
    return _ended(table.sigma(torch.linspace(table.last, table.first, count + 1)[:-1]))


def kl_optimal(count: int, table: NoiseTable) -> Tensor:
    """Sabour et al. 2024, equation for the KL-optimal schedule: even in arctan sigma; it ends above zero."""
    low, high = _ends(table)
    part = torch.arange(count + 1) / count
    return (part * math.atan(low) + (1.0 - part) * math.atan(high)).tan()


def align_your_steps(count: int, table: NoiseTable, xl: bool = False) -> Tensor:
    """Sabour et al. 2024: the eleven published levels, log-linear between them for other numbers of steps."""
    published = _AYS_XL if xl else _AYS
    if count == len(published):
        return _ended(torch.tensor(published))
    known = torch.tensor(published, dtype=torch.float64).log()
    place = torch.linspace(0, len(published) - 1, count, dtype=torch.float64)
    below = place.floor().long().clamp(max=len(published) - 2)
    return _ended(torch.lerp(known[below], known[below + 1], place - below).exp().float())


def simple(count: int, table: NoiseTable) -> Tensor:
    """Every so many trained levels, from the last."""
    stride = len(table.sigmas) / count
    return _ended(torch.stack([table.sigmas[-(1 + int(step * stride))] for step in range(count)]))


def ddim(count: int, table: NoiseTable) -> Tensor:
    """The levels of DDIM's timesteps; where the count does not divide the table there are more of them than asked."""
    return _ended(table.sigmas[1 :: max(len(table.sigmas) // count, 1)].flip(0))


SCHEDULES: dict[str, Callable[[int, NoiseTable], Tensor]] = {
    "Uniform": uniform,
    "Karras": karras,
    "Exponential": exponential,
    # With the WebUI's rho of 1 it is the exponential one.
    "Polyexponential": exponential,
    "SGM Uniform": sgm_uniform,
    "KL Optimal": kl_optimal,
    "Align Your Steps": align_your_steps,
    "Simple": simple,
    "Normal": uniform,
    "DDIM": ddim,
}
"""By the WebUI's names: from the number of steps to the levels, falling, the last one mostly zero."""

_AYS = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
_AYS_XL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)


def timesteps(count: int, trained: int = 1000) -> Tensor:
    """The timesteps of DDIM, PLMS and UniPC in the WebUI, rising: every so many from 1 on."""
    return (torch.arange(0, trained, trained // count) + 1).clamp(max=trained - 1)


def _ends(table: NoiseTable) -> tuple[float, float]:
    return table.sigmas[0].item(), table.sigmas[-1].item()


def _ended(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])
