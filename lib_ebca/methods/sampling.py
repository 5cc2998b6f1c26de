"""Samplers as conversations: each asks the network, hears the guided noise, and in the end returns the latent.

A sampler is a generator. It yields an :class:`Evaluation` and is sent an :class:`Answer`; what it returns is the
finished latent. Whoever holds it, a diffusers pipeline or a loop of one's own, decides how the network is called, which
is what lets attention be changed on the way, and may show the network another latent: the sampler goes on from that.

Latents (B, C, H, W) are variance exploding (x0 + sigma * noise) inside; the network is given them with variance one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from lib_ebca.methods.noise_levels import NoiseTable


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A question to the network: a latent of variance one, the timestep, and the alpha to read a velocity with."""

    sample: Tensor
    timestep: float
    alpha_cumprod: float

    def noise_of(self, velocity: Tensor, shown: Tensor | None = None) -> Tensor:
        """The noise in `sample`, or in what was shown instead, that a velocity says (Salimans and Ho 2022)."""
        sample = self.sample if shown is None else shown
        return self.alpha_cumprod**0.5 * velocity + (1 - self.alpha_cumprod) ** 0.5 * sample


@dataclass(frozen=True, eq=False)
class Answer:
    """The `noise` that the network predicts, and the `sample` that it was shown where that is not the evaluation's."""

    noise: Tensor
    sample: Tensor | None = None


Conversation = Generator[Evaluation, Answer, Tensor]
Denoise = Callable[[Tensor, Tensor], Generator[Evaluation, Answer, tuple[Tensor, Tensor]]]
"""From a latent and its level to the latent that the network was shown, and the picture that it sees in it."""
Draw = Callable[[Tensor, Tensor], Tensor]
"""Normal noise of the latents' shape for the stretch between two levels."""


def denoiser(table: NoiseTable, keep: Callable[[Tensor], Tensor] | None = None) -> Denoise:
    """Asks for the noise and takes it away; `keep` then puts back what is not to change."""

    def denoise(latent: Tensor, sigma: Tensor) -> Generator[Evaluation, Answer, tuple[Tensor, Tensor]]:
        variance = 1 + sigma**2
        answer = yield Evaluation(latent / variance**0.5, table.timestep(sigma).item(), (1 / variance).item())
        if answer.sample is not None:
            latent = answer.sample * variance**0.5
        denoised = table.picture(latent, sigma, answer.noise)
        return latent, denoised if keep is None else keep(denoised)

    return denoise


def euler(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """Karras et al. 2022, algorithm 2 without its second half."""
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        latent = towards(latent, denoised, sigma, target)
    return latent


def euler_ancestral(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """Euler's steps to below the target, and noise up to it."""
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        latent = _renoised(latent, denoised, sigma, target, draw)
    return latent


def heun(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """Karras et al. 2022, algorithm 2."""
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        ahead = towards(latent, denoised, sigma, target)
        if target == 0:
            latent = ahead
            continue
        ahead, denoised_ahead = yield from denoise(ahead, target)
        slopes = (latent - denoised) / sigma + (ahead - denoised_ahead) / target
        latent = latent + slopes / 2 * (target - sigma)
    return latent


def dpm2(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """The midpoint rule in log sigma (DPM-Solver-2)."""
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        latent = yield from _midpoint(latent, denoised, sigma, target, denoise)
    return latent


def dpm2_ancestral(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """The midpoint rule to below the target, and noise up to it."""
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        down, up = ancestral(sigma, target)
        latent = yield from _midpoint(latent, denoised, sigma, down, denoise)
        if target > 0:
            latent = latent + draw(sigma, target) * up
    return latent


def dpmpp_2s_ancestral(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """DPM-Solver++ (2S), Lu et al. 2022, with ancestral noise."""
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        down, up = ancestral(sigma, target)
        if down > 0:
            middle = (sigma * down) ** 0.5
            _, denoised = yield from denoise(towards(latent, denoised, sigma, middle), middle)
        latent = towards(latent, denoised, sigma, down)
        if target > 0:
            latent = latent + draw(sigma, target) * up
    return latent


def dpmpp_sde(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """DPM-Solver++ for the stochastic equation, by its midpoint in log sigma.

    Levels go through their logarithms to the last bit as k-diffusion's do: over a stretch dt a Brownian path moves by
    the root of dt, so that the rounding of a level is seen in the noise thousandfold.
    """
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        if target > 0:
            begin, end = -sigma.log(), -target.log()
            half = begin + (end - begin) * 0.5
            sigma, middle, target = (each.neg().exp() for each in (begin, half, end))
            halfway = _renoised(latent, denoised, sigma, middle, draw)
            halfway, denoised = yield from denoise(halfway, middle)
        latent = _renoised(latent, denoised, sigma, target, draw)
    return latent


def dpmpp_2m(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """DPM-Solver++ (2M), Lu et al. 2022, algorithm 2."""
    before: tuple[Tensor, Tensor] | None = None
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        ahead, step = denoised, (sigma / target).log()
        if before is not None and target > 0:
            seen, stride = before
            ahead = denoised + step / stride / 2 * (denoised - seen)
        latent = towards(latent, ahead, sigma, target)
        before = denoised, step
    return latent


def dpmpp_2m_sde(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """DPM-Solver++ (2M) for the stochastic equation, midpoint form."""
    return (yield from _multistep_sde(latent, sigmas, denoise, draw, _midpoint_weight))


def dpmpp_2m_sde_heun(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """DPM-Solver++ (2M) for the stochastic equation, Heun's form."""
    return (yield from _multistep_sde(latent, sigmas, denoise, draw, _heun_weight))


def dpmpp_3m_sde(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """DPM-Solver++ (3M) for the stochastic equation."""
    before: tuple[Tensor, Tensor] | None = None
    earlier: tuple[Tensor, Tensor] | None = None
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        if target == 0:
            return denoised
        step = (sigma / target).log()
        latent = _shrunk(latent, denoised, step)
        if before is not None:
            seen, near = before[0], before[1] / step
            first = slope = (denoised - seen) / near
            if earlier is not None:
                far = earlier[1] / step
                bend = first - (seen - earlier[0]) / far
                slope = first + bend * near / (near + far)
                latent = latent - (_heun_weight(step) / (2 * step) - 0.5) * bend / (near + far)
            latent = latent + _heun_weight(step) * slope
        latent = latent + draw(sigma, target) * target * (1 - (-2 * step).exp()).sqrt()
        earlier, before = before, (denoised, step)
    return latent


def lcm(latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw) -> Conversation:
    """Luo et al. 2023: the picture at once, and fresh noise on it."""
    for sigma, target in pairwise(sigmas):
        _, latent = yield from denoise(latent, sigma)
        if target > 0:
            latent = latent + draw(sigma, target) * target
    return latent


def towards(latent: Tensor, denoised: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
    """Along the straight line to the denoised picture, from one level to another."""
    return denoised + (latent - denoised) * (target / sigma)


def ancestral(sigma: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """To which level to go down, and how much noise leads from there to `target` (Song et al. 2020, eta 1)."""
    up = (target**2 * (sigma**2 - target**2) / sigma**2).clamp(min=0) ** 0.5
    up = torch.minimum(target, up)
    return (target**2 - up**2) ** 0.5, up


def _renoised(latent: Tensor, denoised: Tensor, sigma: Tensor, target: Tensor, draw: Draw) -> Tensor:
    down, up = ancestral(sigma, target)
    latent = towards(latent, denoised, sigma, down)
    return latent + draw(sigma, target) * up if target > 0 else latent


def _midpoint(latent: Tensor, denoised: Tensor, sigma: Tensor, target: Tensor, denoise: Denoise) -> Conversation:
    if target == 0:
        return denoised
    middle = (sigma * target) ** 0.5
    halfway = towards(latent, denoised, sigma, middle)
    halfway, denoised = yield from denoise(halfway, middle)
    return latent + (halfway - denoised) / middle * (target - sigma)


def _multistep_sde(
    latent: Tensor, sigmas: Tensor, denoise: Denoise, draw: Draw, weight: Callable[[Tensor], Tensor]
) -> Conversation:
    before: tuple[Tensor, Tensor] | None = None
    for sigma, target in pairwise(sigmas):
        latent, denoised = yield from denoise(latent, sigma)
        if target == 0:
            return denoised
        step = (sigma / target).log()
        latent = _shrunk(latent, denoised, step)
        if before is not None:
            seen, stride = before
            latent = latent + weight(step) * (step / stride) * (denoised - seen)
        latent = latent + draw(sigma, target) * target * (1 - (-2 * step).exp()).sqrt()
        before = denoised, step
    return latent


def _shrunk(latent: Tensor, denoised: Tensor, step: Tensor) -> Tensor:
    return denoised + (latent - denoised) * (-2 * step).exp()


def _midpoint_weight(step: Tensor) -> Tensor:
    return -torch.expm1(-2 * step) / 2


def _heun_weight(step: Tensor) -> Tensor:
    return 1 - torch.expm1(-2 * step) / (-2 * step)
