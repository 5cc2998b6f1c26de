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


def test_unipc_from_a_picture_asks_at_the_timesteps_that_the_webui_computes() -> None:
    """In float32 they come to whole numbers where those are meant: cut off, they are not one less."""
    draw, latents = noises((1, 4, 2, 2)), torch.zeros(1, 4, 2, 2)
    table = table_of(tiny_pipe.scheduler().config)
    made = walk("UniPC", "Automatic", 10, draw(), table, draw, seeds=[SEED], known=Known(latents, 0.6))
    assert made.timesteps == (501.0, 417.5, 334.0, 250.5, 167.0, 83.5)


class Listening(WalkScheduler):
    """Keeps what it is asked to scale: latents, those of which the gradient is taken, those that are moved."""

    scaled: list[Tensor]

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        self.scaled.append(sample.detach().clone())
        return super().scale_model_input(sample, timestep)


def test_step_sizes_of_subjects_fall_over_what_the_webui_announces() -> None:
    """DDIM makes one evaluation less than it announces; over the latter their squares fall from 1 to 1/2."""
    pipe, draw = tiny_pipe.quiet(tiny_pipe.sd1()), noises((1, 4, 8, 8))
    table = table_of(pipe.scheduler.config)

    def second_move(announced: int) -> Tensor:
        pipe.scheduler = scheduler = Listening()
        scheduler.follow(walk("DDIM", "Automatic", STEPS, noises((1, 4, 8, 8))(), table, draw, seeds=[SEED]), STEPS)
        scheduler.scaled, scheduler.announced_evaluations = [], announced
        with energy_attention(pipe, parse("<excite:cat:refine=off:until=1:scale=1000>").plan, as_webui=True):
            pipe("a cat", num_inference_steps=STEPS, guidance_scale=2.0, latents=scheduler.first, output_type="latent")
        assert len(scheduler.scaled) == 3 * (STEPS - 1)
        before, _, moved = scheduler.scaled[3:6]
        return moved - before

    over = {count: (1 - 1 / (count - 1) / 2) ** 0.5 for count in (STEPS, STEPS - 1)}
    torch.testing.assert_close(
        second_move(STEPS) / over[STEPS], second_move(STEPS - 1) / over[STEPS - 1], rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize(
    ("row", "asked", "alone"),
    [(0, ("cat " * 80, "dog"), ("cat", "dog")), (1, ("cat " * 80, "dog " * 160), ("cat " * 80, "dog"))],
    ids=["negative prompt", "prompt"],
)
def test_a_repeated_context_is_followed_as_it_was_encoded(
    row: int, asked: tuple[str, str], alone: tuple[str, str]
) -> None:
    """A row answers the same whether its context stands in it once or, for the other row's length, several times."""
    pipe = tiny_pipe.quiet(tiny_pipe.sd1())
    plan = parse("<bcu:0.5:0.9> <boost:cat:3>" if row else "<bcu:0.5:0.9>").plan

    def answer(prompt: str, negative: str) -> Tensor:
        answers: list[Tensor] = []
        hook = pipe.unet.register_forward_hook(lambda module, given, output: answers.append(output[0]))
        latents = noises((1, 4, 8, 8))()
        try:
            with energy_attention(pipe, plan, as_webui=True):
                pipe(prompt, negative_prompt=negative, num_inference_steps=1, guidance_scale=2.0, latents=latents)
        finally:
            hook.remove()
        return answers[0][row]

    torch.testing.assert_close(answer(*asked), answer(*alone), rtol=1e-4, atol=1e-5)
