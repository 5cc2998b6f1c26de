"""DDIM, PLMS and UniPC as the WebUI runs them: over timesteps, with latents of variance one.

They are conversations like those of :mod:`lib_ebca.methods.sampling`. None of them asks at the last timestep: they end
where the walk reaches it, so DDIM makes one evaluation less than it has timesteps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from lib_ebca.methods.noise_levels import NoiseTable
from lib_ebca.methods.sampling import Answer, Conversation, Evaluation

Keep = Callable[[Tensor], Tensor]

_ADAMS_BASHFORTH = ((3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""Weights of the last two, three and four."""
_UNIPC_ORDER = 3


def ddim(latent: Tensor, timesteps: Tensor, table: NoiseTable, keep: Keep) -> Conversation:
    """Song et al. 2020 with eta 0; `timesteps` rise, `keep` changes what the network is shown."""
    for timestep, target in _downwards(timesteps):
        latent, noise = yield from _ask(latent, timestep, table, keep)
        latent = _stepped(latent, noise, timestep, target, table)
    return latent


def plms(latent: Tensor, timesteps: Tensor, table: NoiseTable, keep: Keep) -> Conversation:
    """Liu et al. 2022: DDIM's steps with the noise extrapolated from the last four, the first one improved by Euler."""
    heard: list[Tensor] = []
    for timestep, target in _downwards(timesteps):
        latent, noise = yield from _ask(latent, timestep, table, keep)
        if heard:
            recent = [noise, *reversed(heard)]
            weights = _ADAMS_BASHFORTH[len(recent) - 2]
            meant = sum((w * each for w, each in zip(weights[1:], recent[1:], strict=True)), weights[0] * noise)
        else:
            ahead = _stepped(latent, noise, timestep, target, table)
            _, further = yield from _ask(ahead, target, table, keep)
            meant = (noise + further) / 2
        latent = _stepped(latent, meant, timestep, target, table)
        heard = [*heard, noise][-3:]
    return latent


def unipc(latent: Tensor, start: Tensor, steps: int, table: NoiseTable, keep: Keep) -> Conversation:
    """Zhao et al. 2023, multistep, of order 3 with B(h) = h, predicting the picture; order falls at the end.

    Args:
        latent: (B, C, H, W).
        start: the first time, in (0, 1], in float32, as all times are: the WebUI cuts timesteps off to find a level,
            and what falls short of one by rounding is cut to the one below. Timestep t of T stands for (t + 1) / T.
        steps: strides, even in time, down to the first trained timestep.
        table: of T levels.
        keep: changes what the network is shown.
    """
    trained = len(table.alphas_cumprod)
    times = list(torch.linspace(start, 1 / trained, steps + 1))
    levels = [_level(time, table) for time in times]
    latent, first = yield from _picture(latent, times[0], levels[0], table, keep)
    seen = [first]
    for place in range(1, steps + 1):
        order = min(place, _UNIPC_ORDER, steps + 1 - place)
        ahead, correct = _predicted(latent, seen, levels[: place + 1], order)
        latent = ahead
        if place < steps:
            shown, found = yield from _picture(ahead, times[place], levels[place], table, keep)
            # What the latent was moved by meanwhile stays in the corrected one.
            latent = correct(found) + (shown - ahead)
            seen = [*seen, found][-_UNIPC_ORDER:]
    return latent


def _downwards(timesteps: Tensor) -> list[tuple[int, int]]:
    falling = [int(timestep) for timestep in timesteps.flip(0)]
    return list(pairwise(falling))


_Asked = Generator[Evaluation, Answer, tuple[Tensor, Tensor]]


def _ask(latent: Tensor, timestep: int, table: NoiseTable, keep: Keep) -> _Asked:
    answer = yield Evaluation(keep(latent), float(timestep), table.alphas_cumprod[timestep].item())
    return (latent if answer.sample is None else answer.sample), answer.noise


def _stepped(latent: Tensor, noise: Tensor, timestep: int, target: int, table: NoiseTable) -> Tensor:
    alpha, alpha_target = table.alphas_cumprod[timestep], table.alphas_cumprod[target]
    picture = (latent - (1 - alpha).sqrt() * noise) / alpha.sqrt()
    return alpha_target.sqrt() * picture + (1 - alpha_target).sqrt() * noise


# How much of the picture (alpha) and of the noise (sigma) is there, with alpha**2 + sigma**2 = 1.
_Level = tuple[Tensor, Tensor]


def _level(time: Tensor, table: NoiseTable) -> _Level:
    trained = len(table.alphas_cumprod)
    place = (time * trained - 1).clamp(0, trained - 1)
    below = place.floor().long().clamp(max=trained - 2)
    logs = table.alphas_cumprod.log() / 2
    log_alpha = logs[below] + (logs[below + 1] - logs[below]) * (place - below)
    return log_alpha.exp(), (1 - (2 * log_alpha).exp()).sqrt()


def _picture(latent: Tensor, time: Tensor, level: _Level, table: NoiseTable, keep: Keep) -> _Asked:
    trained = len(table.alphas_cumprod)
    timestep = float((time - 1 / trained) * trained)
    answer = yield Evaluation(keep(latent), timestep, table.alphas_cumprod[int(timestep)].item())
    shown = latent if answer.sample is None else answer.sample
    return shown, (shown - level[1] * answer.noise) / level[0]


def _predicted(
    latent: Tensor, seen: Sequence[Tensor], levels: Sequence[_Level], order: int
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The latent at the last of `levels`, and how to correct it with the picture that is then seen there."""
    half_log_snr = [(alpha / sigma).log() for alpha, sigma in levels[-order - 1 :]]
    (_, sigma_before), (alpha, sigma) = levels[-2], levels[-1]
    step = half_log_snr[-1] - half_log_snr[-2]
    last = seen[-1]
    # Slopes of the picture against the last one, over the distance in steps; the last distance is the new point's.
    distances = [(each - half_log_snr[-2]) / step for each in reversed(half_log_snr[:-2])]
    slopes = [(each - last) / distance for each, distance in zip(reversed(seen[:-1]), distances, strict=False)]
    base = sigma / sigma_before * latent - alpha * torch.expm1(-step) * last
    powers = torch.stack([torch.stack([*distances, torch.ones(())]) ** power for power in range(order)])
    moments = _moments(-step, order)
    if order == 1:
        weights, correcting = torch.zeros(0), torch.tensor([0.5])
    else:
        weights = torch.tensor([0.5]) if order == 2 else torch.linalg.solve(powers[:-1, :-1], moments[:-1])
        correcting = torch.linalg.solve(powers, moments)

    def summed(coefficients: Tensor) -> Tensor:
        return sum((weight * slope for weight, slope in zip(coefficients, slopes, strict=False)), torch.zeros(()))

    def correct(found: Tensor) -> Tensor:
        return base + alpha * step * (summed(correcting[:-1]) + correcting[-1] * (found - last))

    return base + alpha * step * summed(weights), correct


def _moments(step: Tensor, order: int) -> Tensor:
    """k! phi_(k+1)(step) for k = 1 ... order: what each power of the distance integrates to."""
    moments: list[Tensor] = []
    phi, factorial = torch.expm1(step) / step - 1, 1
    for k in range(1, order + 1):
        moments.append(phi * factorial / step)
        factorial *= k + 1
        phi = phi / step - 1 / factorial
    return torch.stack(moments)
