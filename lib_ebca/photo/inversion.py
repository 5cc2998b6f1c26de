"""From a photograph's latent to the noise that deterministic sampling (DDIM) turns into that photograph.

Two ways: the published one, which holds each noise estimate close to white noise (Parmar et al., "Zero-shot
Image-to-Image Translation", 2023, pix2pix-zero, Sec. 3.1), and one that solves each sampling step backwards as a fixed
point with Anderson acceleration (Pan et al., "Effective Real Image Editing with Accelerated Iterative Diffusion
Inversion", ICCV 2023, AIDI), so that sampling gives the photograph back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib_ebca.photo.regularisation import PUBLISHED, Regularisation, regularised

Model = Callable[[Tensor, int], Tensor]
"""The denoiser under the photograph's caption: (B, C, H, W) latents and a timestep to its output of the same shape."""

PREDICTIONS = ("epsilon", "v_prediction", "sample")


class InversionError(ValueError):
    """An inversion that cannot be; one sentence says what would be right."""


@dataclass(frozen=True, eq=False)
class Course:
    """The sampler's steps, from the picture up to the noise.

    Attributes:
        timesteps: at which the sampler asks the model, lowest first.
        levels: (steps,) alpha-bar at each of them, on the CPU. Their roots are taken in the tensor's own precision, as
            the samplers do it, whatever that of the latents.
        below: (steps,) alpha-bar to which the sampler goes from each; the first is that of a finished picture.
        prediction: what the model predicts, one of :data:`PREDICTIONS`.

    Raises:
        InversionError: fewer than two steps, a level without any signal, or an unknown prediction.
    """

    timesteps: tuple[int, ...]
    levels: Tensor
    below: Tensor
    prediction: str = "epsilon"

    def __post_init__(self) -> None:
        if len(self.timesteps) < 2:
            raise InversionError(
                f"an inversion of {len(self.timesteps)} steps has nothing to invert: it should have 2 or more"
            )
        if not len(self.timesteps) == len(self.levels) == len(self.below):
            raise InversionError(
                f"{len(self.timesteps)} timesteps have {len(self.levels)} and {len(self.below)} levels"
            )
        if bool((torch.cat((self.levels, self.below)) <= 0).any()):
            raise InversionError(
                "the noisiest level holds no signal (zero terminal SNR): no photograph can be found in it"
            )
        if self.prediction not in PREDICTIONS:
            raise InversionError(f"prediction is {self.prediction!r}: it should be one of {', '.join(PREDICTIONS)}")

    @classmethod
    def leading(cls, alphas: Tensor, steps: int, offset: int = 1, prediction: str = "epsilon") -> Course:
        """The published spacing: timesteps offset, offset + r, offset + 2 r, ... with r = len(alphas) // steps.

        Args:
            alphas: alpha-bar of every timestep of the training.
            steps: how many the sampler takes.
            offset: the first timestep.
            prediction: what the model predicts.

        Raises:
            InversionError: the last timestep would lie beyond the training's.
        """
        stride = len(alphas) // max(steps, 1)
        timesteps = [offset + stride * step for step in range(steps)]
        if stride < 1 or (timesteps and timesteps[-1] >= len(alphas)):
            raise InversionError(f"{steps} steps do not fit into {len(alphas)} timesteps from {offset} on")
        below = [0, *timesteps[:-1]]
        return cls(tuple(timesteps), alphas[timesteps], alphas[below], prediction)

    def noise(self, model: Model, latents: Tensor, step: int) -> Tensor:
        """The model's estimate of the noise in ``latents`` at the level of ``step``."""
        return noise_in(model(latents, self.timesteps[step]), latents, self.levels[step], self.prediction)


@dataclass(frozen=True)
class FixedPoint:
    """How far each sampling step is solved backwards.

    Attributes:
        iterations: most evaluations of the model for a step.
        tolerance: root mean square change of the latents at which a picture's step counts as solved.
        memory: earlier iterates that Anderson acceleration combines; 0 is the plain iteration.
    """

    iterations: int = 10
    tolerance: float = 1e-4
    memory: int = 2


EXACT = FixedPoint()


@dataclass(frozen=True, eq=False)
class Inversion:
    """The noise behind photographs.

    Attributes:
        latents: (B, C, H, W), where sampling starts.
        trajectory: the latents after each step, the last of them ``latents``.
        evaluations: how often the model was asked.
        residual: (B,) the largest root mean square change of the latents that a step was left with; None if not known.
    """

    latents: Tensor
    trajectory: tuple[Tensor, ...]
    evaluations: int
    residual: Tensor | None = None


def noise_in(output: Tensor, latents: Tensor, level: Tensor, prediction: str) -> Tensor:
    """The noise in latents at an alpha-bar, from what the model says of them in its kind of ``prediction``."""
    if prediction == "epsilon":
        return output
    if prediction == "v_prediction":
        return level.sqrt() * output + (1 - level).sqrt() * latents
    return (latents - level.sqrt() * output) / (1 - level).sqrt()


def transfer(latents: Tensor, noise: Tensor, level: Tensor, target: Tensor) -> Tensor:
    """Latents with a given noise in them, taken from one alpha-bar to another: DDIM with eta 0, either way."""
    picture = (latents - (1 - level).sqrt() * noise) / level.sqrt()
    return target.sqrt() * picture + (1 - target).sqrt() * noise


@torch.no_grad()
def invert_published(
    latents: Tensor,
    model: Model,
    course: Course,
    generators: Sequence[torch.Generator],
    regularisation: Regularisation = PUBLISHED,
    advance: Callable[[int], None] = lambda step: None,
) -> Inversion:
    """Regularised DDIM inversion as published: one evaluation for each step but the last.

    The photograph is taken for the latent at the first timestep, and the noise found at each level is the one with
    which the next is reached; both are approximations, so that sampling does not quite give the photograph back.

    Args:
        latents: (B, C, H, W), scaled as the model expects.
        model: the denoiser.
        course: the sampler's steps.
        generators: one for each picture, on the CPU: the shifts of its auto-correlation.
        regularisation: rounds and weights.
        advance: told the number of evaluations after each.

    Raises:
        InversionError: the number of generators is not that of the pictures.
    """
    if len(generators) != len(latents):
        raise InversionError(f"{len(latents)} pictures have {len(generators)} generators: each needs its own")
    trajectory = []
    for step in range(len(course.timesteps) - 1):
        noise = regularised(course.noise(model, latents, step), regularisation, generators)
        latents = transfer(latents, noise, course.levels[step], course.levels[step + 1])
        trajectory.append(latents)
        advance(step + 1)
    return Inversion(latents, tuple(trajectory), len(trajectory))


@torch.no_grad()
def invert_fixed_point(
    latents: Tensor,
    model: Model,
    course: Course,
    settings: FixedPoint = EXACT,
    advance: Callable[[int], None] = lambda step: None,
) -> Inversion:
    """Each step of the sampler solved backwards: the latents from which it comes to the ones at hand.

    The step's noise is the unknown, e = model(latents reached with e): the fixed point of a map that contracts where
    the steps are small. It starts from the noise of the step before.

    Args:
        latents: (B, C, H, W), scaled as the model expects.
        model: the denoiser.
        course: the sampler's steps.
        settings: how far to iterate.
        advance: told the number of steps solved after each.
    """
    trajectory: list[Tensor] = []
    worst = torch.zeros(len(latents), device=latents.device, dtype=latents.dtype)
    evaluations = 1
    noise = course.noise(model, latents, 0)
    for step, (level, below) in enumerate(zip(course.levels, course.below, strict=True)):
        reach = float((1 - level).sqrt() - (level * (1 - below) / below).sqrt())

        def again(noise: Tensor, here: Tensor = latents, step: int = step) -> Tensor:
            return course.noise(model, transfer(here, noise, course.below[step], course.levels[step]), step)

        noise, residual, spent = _solved(again, noise, reach, settings)
        latents = transfer(latents, noise, below, level)
        worst = torch.maximum(worst, residual)
        evaluations += spent
        trajectory.append(latents)
        advance(step + 1)
    return Inversion(latents, tuple(trajectory), evaluations, worst)


def _solved(
    again: Callable[[Tensor], Tensor], noise: Tensor, reach: float, settings: FixedPoint
) -> tuple[Tensor, Tensor, int]:
    """Fixed point of ``again``, what it was left with, (B,) in units of the latents, and the evaluations spent.

    Each picture keeps the iterate that it had when it was solved, so that none depends on its neighbours.
    """
    inputs: list[Tensor] = []
    changes: list[Tensor] = []
    left = torch.full((len(noise),), math.inf, device=noise.device, dtype=noise.dtype)
    solved = torch.zeros_like(left, dtype=torch.bool)
    kept, spent = noise, 0
    while spent < settings.iterations and not bool(solved.all()):
        answer = again(noise)
        change = answer - noise
        size = reach * change.square().mean((1, 2, 3)).sqrt()
        better = (size < left) & ~solved
        kept = torch.where(better[:, None, None, None], answer, kept)
        left = torch.where(better, size, left)
        solved |= left <= settings.tolerance
        spent += 1
        inputs, changes = [*inputs, noise][-settings.memory - 1 :], [*changes, change][-settings.memory - 1 :]
        noise = _anderson(inputs, changes)
    return kept, left, spent


def _anderson(inputs: Sequence[Tensor], changes: Sequence[Tensor]) -> Tensor:
    """The next iterate: the mixture of the last ones whose change would be smallest (Anderson 1965, type II)."""
    newest, change = inputs[-1], changes[-1]
    if len(inputs) == 1:
        return newest + change
    turn = torch.stack([(change - old).flatten(1) for old in changes[:-1]], -1)
    move = torch.stack([(newest - old).flatten(1) for old in inputs[:-1]], -1)
    normal = turn.transpose(1, 2) @ turn
    # Iterates that have become equal would make the system singular.
    ridge = (
        10 * torch.finfo(normal.dtype).eps * normal.diagonal(dim1=1, dim2=2).sum(-1) + torch.finfo(normal.dtype).tiny
    )
    normal = normal + ridge[:, None, None] * torch.eye(normal.shape[-1], device=normal.device, dtype=normal.dtype)
    share = torch.linalg.solve(normal, turn.transpose(1, 2) @ change.flatten(1)[..., None])
    return newest + change - ((move + turn) @ share).view_as(newest)
