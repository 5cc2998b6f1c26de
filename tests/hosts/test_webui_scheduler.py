"""The WebUI's samplers in a diffusers pipeline."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from lib_ebca.hosts.diffusers import encoded, energy_attention
from lib_ebca.hosts.webui_samplers import SAMPLERS, Known, walk
from lib_ebca.hosts.webui_scheduler import WalkScheduler, table_of
from lib_ebca.language.directives import parse
from tests import tiny_pipe

STEPS, SEED = 5, 3


def noises(shape: tuple[int, ...]) -> Any:
    generator = torch.Generator().manual_seed(SEED)
    return lambda: torch.randn(shape, generator=generator)


def latents(
    pipe: Any, name: str, prompt: str = "a cat", schedule: str = "Uniform", known: Known | None = None
) -> Tensor:
    draw, config = noises((1, 4, 8, 8)), tiny_pipe.scheduler().config
    table = table_of(config)
    pipe.scheduler = WalkScheduler(config.prediction_type)
    pipe.scheduler.follow(walk(name, schedule, STEPS, draw(), table, draw, seeds=[SEED], known=known), STEPS)
    parsed = parse(prompt)
    with energy_attention(pipe, parsed.plan, as_webui=True):
        found: Tensor = pipe(
            parsed.text,
            num_inference_steps=STEPS,
            guidance_scale=2.0,
            latents=pipe.scheduler.first,
            output_type="latent",
        ).images
    return found


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_walks_a_pipeline(name: str) -> None:
    found = latents(tiny_pipe.quiet(tiny_pipe.sd1()), name)
    assert bool(found.isfinite().all()) and float(found.std()) > 0.1


def test_eulers_is_diffusers_own() -> None:
    pipe = tiny_pipe.quiet(tiny_pipe.sd1())
    config = pipe.scheduler.config
    found = latents(pipe, "Euler")
    pipe.scheduler = EulerDiscreteScheduler.from_config(config, timestep_spacing="linspace")
    pipe.scheduler.set_timesteps(STEPS)
    start = noises((1, 4, 8, 8))() * (pipe.scheduler.sigmas[0] / pipe.scheduler.init_noise_sigma)
    with encoded(pipe):
        theirs = pipe(
            "a cat", num_inference_steps=STEPS, guidance_scale=2.0, latents=start, output_type="latent"
        ).images
    torch.testing.assert_close(found, theirs, rtol=1e-3, atol=2e-3)


def test_a_walk_goes_on_from_latents_that_were_changed_on_the_way() -> None:
    table = table_of(tiny_pipe.scheduler().config)
    schedulers = [WalkScheduler(), WalkScheduler()]
    for scheduler in schedulers:
        draw = noises((1, 4, 2, 2))
        scheduler.follow(walk("Euler", "Uniform", STEPS, draw(), table, draw, seeds=[SEED]), STEPS)
    first, silence = schedulers[0].first, torch.zeros(1, 4, 2, 2)
    (plain,) = schedulers[0].step(silence, None, first.clone())
    (moved,) = schedulers[1].step(silence, None, first + 1)
    sigma, target = table.sigmas[999], table.sigma(torch.tensor(999 * 3 / 4))
    torch.testing.assert_close(moved - plain, ((1 + sigma**2) / (1 + target**2)).sqrt().expand_as(plain))


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM++ 2M", "DDIM", "UniPC"])
def test_a_plan_and_its_subjects_act_and_are_gone_afterwards(name: str) -> None:
    pipe = tiny_pipe.quiet(tiny_pipe.sd1())
    plain, excited, again = (latents(pipe, name, prompt) for prompt in ("a cat", "a cat <excite:cat>", "a cat"))
    assert float((plain - excited).abs().max()) > 1e-3
    assert torch.equal(again, plain)


def test_a_known_picture_is_kept_where_nothing_is_painted() -> None:
    picture = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)
    left = torch.zeros(8, 8)
    left[:, :4] = 1
    for name in ("Euler", "DDIM"):
        found = latents(tiny_pipe.quiet(tiny_pipe.sd1()), name, known=Known(picture, 0.8, left))
        torch.testing.assert_close(found[..., 4:], picture[..., 4:])
        assert not torch.allclose(found[..., :4], picture[..., :4])
