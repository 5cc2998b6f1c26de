"""Inversion on denoisers that are known exactly, sampled again with diffusers' own DDIM."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from lib_ebca.hosts.inversion import course_of
from lib_ebca.photo.inversion import (
    Course,
    FixedPoint,
    Inversion,
    Model,
    invert_fixed_point,
    invert_published,
    noise_in,
)
from lib_ebca.photo.regularisation import Regularisation

PLAIN = Regularisation(rounds=0)


def scheduler_of(prediction: str = "epsilon", **options: Any) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type=prediction,
        **({"set_alpha_to_one": False, "steps_offset": 1} | options),
    )


def model_of(scheduler: DDIMScheduler) -> Model:
    """The best denoiser for pictures that are one of two, each with some spread: smooth and not linear."""

    def model(latents: Tensor, timestep: int) -> Tensor:
        level = scheduler.alphas_cumprod[timestep].double()
        spread = 0.3**2 * level + (1 - level)
        first, second = _pictures(latents)
        nearness = [-0.5 * (latents - level.sqrt() * p).square().mean((1, 2, 3)) / spread for p in (first, second)]
        share = torch.softmax(torch.stack(nearness), 0)[:, :, None, None, None]
        centre = level.sqrt() * (share[0] * first + share[1] * second)
        noise = (1 - level).sqrt() * (latents - centre) / spread
        if scheduler.config.prediction_type == "epsilon":
            return noise
        picture = (latents - (1 - level).sqrt() * noise) / level.sqrt()
        if scheduler.config.prediction_type == "sample":
            return picture
        return level.sqrt() * noise - (1 - level).sqrt() * picture

    return model


def _pictures(latents: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, *latents.shape[1:], generator=generator, dtype=torch.float64)


def photograph(batch: int = 1, height: int = 8, width: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.8 * torch.randn(batch, 4, height, width, generator=generator, dtype=torch.float64)


def sampled(scheduler: DDIMScheduler, latents: Tensor, steps: int) -> Tensor:
    """What the pipelines would make of the noise."""
    model = model_of(scheduler)
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps:
        latents = scheduler.step(model(latents, int(timestep)), timestep, latents).prev_sample
    return latents


def error(scheduler: DDIMScheduler, found: Inversion, wanted: Tensor, steps: int) -> float:
    return float((sampled(scheduler, found.latents, steps) - wanted).square().mean().sqrt())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("steps", [2, 10, 50])
def test_fixed_point_is_the_inverse_of_diffusers_ddim(prediction: str, steps: int) -> None:
    scheduler, picture = scheduler_of(prediction), photograph()
    settings = FixedPoint(iterations=200, tolerance=1e-12)
    found = invert_fixed_point(picture, model_of(scheduler), course_of(scheduler, steps), settings)
    # The sampler's own roots of alpha-bar are single precision, so that signal and noise do not quite add up under v.
    assert error(scheduler, found, picture, steps) < (1e-6 if prediction == "v_prediction" else 1e-9)
    assert found.residual is not None and found.residual.max() <= 1e-12


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("options", [{"steps_offset": 0}, {"set_alpha_to_one": True}])
def test_it_inverts_the_schedule_that_the_scheduler_has(spacing: str, options: dict[str, Any]) -> None:
    scheduler, picture = scheduler_of(timestep_spacing=spacing, **options), photograph()
    settings = FixedPoint(iterations=300, tolerance=1e-12)
    found = invert_fixed_point(picture, model_of(scheduler), course_of(scheduler, 7), settings)
    assert error(scheduler, found, picture, 7) < 1e-8


def test_acceleration_needs_fewer_evaluations_for_the_same_error() -> None:
    scheduler, picture = scheduler_of(), photograph()
    spent = [
        invert_fixed_point(
            picture, model_of(scheduler), course_of(scheduler, 10), FixedPoint(500, 1e-9, memory)
        ).evaluations
        for memory in (0, 2)
    ]
    assert spent[1] < 0.6 * spent[0]


def test_more_iterations_reconstruct_better_and_all_beat_plain_inversion() -> None:
    scheduler, picture = scheduler_of(), photograph()
    course, model = course_of(scheduler, 20), model_of(scheduler)
    plain = invert_published(picture, model, course, [torch.Generator()], PLAIN)
    found = [invert_fixed_point(picture, model, course, FixedPoint(count, 0.0)) for count in (1, 2, 4, 8)]
    errors = [error(scheduler, each, picture, 20) for each in found]
    assert sorted(errors, reverse=True) == errors
    assert errors[1] < error(scheduler, plain, picture, 20)
    assert [each.evaluations for each in found] == [21, 41, 81, 161]


@pytest.mark.parametrize("method", ["fixed-point", "published"])
def test_a_photograph_does_not_depend_on_its_neighbours(method: str) -> None:
    scheduler, pictures = scheduler_of(), photograph(batch=3, height=16, width=24)
    course, model = course_of(scheduler, 8), model_of(scheduler)

    def latents(rows: slice) -> Tensor:
        if method == "fixed-point":
            return invert_fixed_point(pictures[rows], model, course, FixedPoint(30, 1e-6)).latents
        generators = [torch.Generator().manual_seed(seed) for seed in range(3)[rows]]
        return invert_published(pictures[rows], model, course, generators).latents

    assert torch.allclose(latents(slice(None))[1:2], latents(slice(1, 2)), rtol=0, atol=1e-10)


def test_v_prediction_and_epsilon_give_the_same_noise() -> None:
    picture = photograph()
    first, second = (
        invert_published(
            picture, model_of(scheduler), course_of(scheduler, 10), [torch.Generator().manual_seed(1)]
        ).latents
        for scheduler in (scheduler_of(), scheduler_of("v_prediction"))
    )
    # The roots of alpha-bar are single precision, as diffusers takes them.
    assert torch.allclose(first, second, rtol=0, atol=1e-5)


def test_published_timesteps_and_evaluations() -> None:
    asked: list[int] = []

    def model(latents: Tensor, timestep: int) -> Tensor:
        asked.append(timestep)
        return latents

    course = Course.leading(scheduler_of().alphas_cumprod, 10)
    told: list[int] = []
    found = invert_published(photograph(), model, course, [torch.Generator()], PLAIN, told.append)
    assert asked == [1, 101, 201, 301, 401, 501, 601, 701, 801]
    assert told == list(range(1, 10))
    assert found.evaluations == len(found.trajectory) == 9
    assert torch.equal(found.trajectory[-1], found.latents)


def test_leading_is_what_diffusers_would_do() -> None:
    scheduler = scheduler_of()
    ours, theirs = Course.leading(scheduler.alphas_cumprod, 30), course_of(scheduler, 30)
    assert ours.timesteps == theirs.timesteps
    assert torch.equal(ours.levels, theirs.levels)
    assert torch.equal(ours.below[1:], theirs.below[1:]) and ours.below[0] == scheduler.final_alpha_cumprod


def test_an_unsolvable_step_keeps_the_best_iterate_and_says_how_bad_it_is() -> None:
    def wild(latents: Tensor, timestep: int) -> Tensor:
        return 50 * torch.sin(40 * latents)

    found = invert_fixed_point(photograph(), wild, course_of(scheduler_of(), 5), FixedPoint(6, 1e-9))
    assert torch.isfinite(found.latents).all()
    assert found.residual is not None and float(found.residual.max()) > 0.1


def test_noise_in_needs_no_latents_for_epsilon_only() -> None:
    output, latents, level = photograph(seed=1), photograph(seed=2), torch.tensor(0.3)
    assert noise_in(output, latents, level, "epsilon") is output
    noise, picture = photograph(seed=3), photograph(seed=4)
    mixed = level.sqrt() * picture + (1 - level).sqrt() * noise
    v = level.sqrt() * noise - (1 - level).sqrt() * picture
    for kind, said in (("v_prediction", v), ("sample", picture)):
        assert torch.allclose(noise_in(said, mixed, level, kind), noise, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda alphas: Course.leading(alphas, 1), "2 or more"),
        (lambda alphas: Course.leading(alphas, 1000), "do not fit"),
        (lambda alphas: Course.leading(alphas, 2000), "do not fit"),
        (lambda alphas: Course.leading(alphas * 0, 10), "no signal"),
        (lambda alphas: Course.leading(alphas, 10, prediction="flow"), "should be one of"),
        (lambda alphas: Course((1, 2), alphas[:2], alphas[:3]), "levels"),
    ],
)
def test_courses_that_cannot_be(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(scheduler_of().alphas_cumprod)


def test_each_picture_needs_a_generator() -> None:
    scheduler = scheduler_of()
    with pytest.raises(ValueError, match="2 pictures have 1 generators"):
        invert_published(photograph(2), model_of(scheduler), course_of(scheduler, 5), [torch.Generator()])
