"""RePaint: inpainting with a model that was never trained for it, by sampling back and forth.

Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models" (CVPR 2022), Algorithm 1 with the
resampling of Sec. 4.2: each step puts the noised photograph back where it is kept, and now and then the whole picture
is noised again by some steps and denoised anew, so that what is painted comes to fit what is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Draw = Callable[[], Tensor]
"""Gives normal noise of the latents' shape, (B, C, H, W), fresh at each call."""


class RePaintError(ValueError):
    """A way down and up again that cannot be; one sentence says what would be right."""


@dataclass(frozen=True)
class Stride:
    """One step down, and the steps up that follow it.

    Attributes:
        timestep: at which the model is asked.
        climbs: timesteps from each of which the picture is noised again by one stride; mostly none.
    """

    timestep: int
    climbs: tuple[int, ...] = ()


def itinerary(steps: int, jump_length: int = 10, jump_count: int = 10, trained: int = 1000) -> tuple[Stride, ...]:
    """The way down with its jumps back up (the authors' schedule).

    Args:
        steps: steps of a straight way down.
        jump_length: how many strides a jump goes back up; at least ``steps`` means no jump.
        jump_count: how often each stretch is walked; 1 means no jump.
        trained: timesteps of the training.

    Raises:
        RePaintError: a number below 1, or more steps than timesteps.
    """
    for name, value in (("steps", steps), ("jump_length", jump_length), ("jump_count", jump_count)):
        if value < 1:
            raise RePaintError(f"{name} is {value}: it should be 1 or more")
    if steps > trained:
        raise RePaintError(f"steps is {steps}: it should be at most {trained}, the timesteps of the training")
    stride = trained // steps
    jumps = {place: jump_count - 1 for place in range(0, steps - jump_length, jump_length)}
    strides, place = [], steps - 1
    while place >= 0:
        climbs: tuple[int, ...] = ()
        timestep = place * stride
        if jumps.get(place, 0):
            jumps[place] -= 1
            climbs = tuple((place + climb) * stride for climb in range(jump_length))
            place += jump_length
        strides.append(Stride(timestep, climbs))
        place -= 1
    return tuple(strides)


def step_down(
    latents: Tensor,
    noise: Tensor,
    known: Tensor,
    repainted: Tensor,
    level: Tensor,
    below: Tensor,
    fresh: Tensor,
    clip: float | None = None,
) -> Tensor:
    """One step towards the picture: DDIM with eta 0 where it is repainted, the photograph with fresh noise elsewhere.

    Args:
        latents: (B, C, H, W).
        noise: the model's estimate of the noise in them.
        known: (B, C, H, W), the photograph's latents.
        repainted: (B, 1, H, W) in [0, 1], 1 where the picture is painted anew.
        level: alpha-bar of the latents.
        below: alpha-bar to go to; 1 at the end.
        fresh: (B, C, H, W), normal noise.
        clip: bound on the estimated picture. The authors' 1 is for pixels; latents have none.
    """
    picture = (latents - (1 - level).sqrt() * noise) / level.sqrt()
    if clip is not None:
        picture = picture.clamp(-clip, clip)
    painted = below.sqrt() * picture + (1 - below).sqrt() * noise
    kept = below.sqrt() * known + (1 - below).sqrt() * fresh
    return repainted * painted + (1 - repainted) * kept


def climb(latents: Tensor, betas: Tensor, draw: Draw) -> Tensor:
    """One stride back up: the forward process, timestep by timestep, with the noise variances ``betas``."""
    for beta in betas:
        latents = (1 - beta).sqrt() * latents + beta.sqrt() * draw().to(latents)
    return latents
