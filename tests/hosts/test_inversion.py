"""Inversion through whole pipelines: what is inverted is what the pipeline samples."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca import Edit, Plan
from lib_ebca.hosts.diffusers import HostError, encoded, energy_attention
from lib_ebca.hosts.inversion import course_of, edit_scheduler, invert, latents_of, pictures_of
from lib_ebca.photo.inversion import FixedPoint
from tests import tiny_pipe

STEPS = 8
CLOSE = FixedPoint(iterations=40, tolerance=1e-6)


@pytest.fixture(params=["sd1", "sd2", "sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    made = getattr(tiny_pipe, request.param)()
    made.scheduler = edit_scheduler(made)
    return made


def latents_like(count: int, height: int = 8, width: int = 8) -> Tensor:
    return torch.randn(count, 4, height, width, generator=torch.Generator().manual_seed(4))


def sampled(pipe: Any, found: Tensor, captions: list[str], guidance: float = 7.5, steps: int = STEPS) -> Tensor:
    factor = pipe.vae_scale_factor
    return pipe(
        captions,
        negative_prompt=captions,
        latents=found.to(pipe.unet.dtype),
        height=found.shape[-2] * factor,
        width=found.shape[-1] * factor,
        num_inference_steps=steps,
        guidance_scale=guidance,
        output_type="latent",
    ).images


def apart(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


def test_the_pipeline_samples_the_photographs_again(pipe: Any) -> None:
    latents, captions = latents_like(2), ["a cat on a sofa", "a (red:1.3) house"]
    exact = invert(pipe, latents, captions, steps=STEPS, fixed_point=CLOSE)
    published = invert(pipe, latents, captions, steps=STEPS, method="published")
    assert exact.residual is not None and float(exact.residual.max()) < 2e-6
    with encoded(pipe):
        # The caption is the negative prompt as well, so that guidance has nothing to pull at.
        assert apart(sampled(pipe, exact.latents, captions), latents) < 1e-3
        assert apart(sampled(pipe, published.latents, captions), latents) > 1e-2


def test_pictures_of_any_shape_and_v_prediction() -> None:
    pipe = tiny_pipe.sd1()
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    pipe.scheduler = edit_scheduler(pipe)
    latents = latents_like(1, 8, 12)
    found = invert(pipe, latents, ["a cat"], steps=STEPS, fixed_point=CLOSE)
    with encoded(pipe):
        assert apart(sampled(pipe, found.latents, ["a cat"]), latents) < 1e-3


def test_each_photograph_has_its_own_seed() -> None:
    pipe, latents = tiny_pipe.sd1(), latents_like(1).expand(2, -1, -1, -1)
    found = invert(pipe, latents, ["a cat"] * 2, steps=STEPS, method="published", seeds=(1, 2)).latents
    again = invert(pipe, latents[:1], ["a cat"], steps=STEPS, method="published", seeds=(1,)).latents
    assert apart(found[:1], found[1:]) > 1e-5
    assert apart(found[:1], again) < 1e-5


def test_an_edit_keeps_the_picture_until_its_window_opens() -> None:
    pipe = tiny_pipe.sd1()
    pipe.scheduler = edit_scheduler(pipe)
    latents = latents_like(1)
    found = invert(pipe, latents, ["a cat"], steps=STEPS, fixed_point=CLOSE)
    seen: list[Tensor] = []

    def after(pipe: Any, step: int, timestep: Any, state: dict[str, Any]) -> dict[str, Any]:
        seen.append(state["latents"])
        return {}

    plan = Plan(edits=(Edit("dog", 0.75, 0.5), Edit("cat", -0.65, 0.5)))
    with energy_attention(pipe, plan):
        pipe(
            "a cat",
            negative_prompt="a cat",
            latents=found.latents,
            num_inference_steps=STEPS,
            callback_on_step_end=after,
            output_type="latent",
        )
    # The trajectory counts from the picture, sampling towards it.
    back = [*reversed(found.trajectory[:-1]), latents]
    distances = [apart(one, other) for one, other in zip(seen, back, strict=True)]
    assert max(distances[: STEPS // 2]) < 1e-4
    assert min(distances[STEPS // 2 :]) > 1e-4


def test_pictures_to_latents_and_back() -> None:
    pipe = tiny_pipe.sd1()
    picture = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))
    latents = latents_of(pipe, picture)
    assert latents.shape == (2, 4, 12 // pipe.vae_scale_factor, 20 // pipe.vae_scale_factor)
    with torch.no_grad():
        wanted = pipe.vae.decode(pipe.vae.encode(2 * picture - 1).latent_dist.mode()).sample / 2 + 0.5
    assert torch.allclose(pictures_of(pipe, latents), wanted.clamp(0, 1), atol=1e-5)


def test_a_vae_that_overflows_in_half_precision_works_in_single_and_is_put_back() -> None:
    pipe = tiny_pipe.sd1()
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    wanted = latents_of(pipe, picture)
    pipe.vae.to(torch.float16).register_to_config(force_upcast=True)
    assert torch.allclose(latents_of(pipe, picture), wanted, atol=1e-2)
    assert pipe.vae.dtype == torch.float16


def test_what_cannot_be() -> None:
    pipe = tiny_pipe.sd1()
    with pytest.raises(HostError, match="15 x 16: its sides should be multiples of 2"):
        latents_of(pipe, torch.zeros(1, 3, 16, 15))
    with pytest.raises(ValueError, match="2 photographs have 1 captions"):
        invert(pipe, latents_like(2), ["a cat"])
    with pytest.raises(ValueError, match="method is 'best': it should be fixed-point or published"):
        invert(pipe, latents_like(1), ["a cat"], method="best")
    for steps in (1, 1000):
        with pytest.raises(ValueError, match="it should be 2 to 999"):
            course_of(edit_scheduler(pipe), steps)
