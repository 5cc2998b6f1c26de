"""Whose rows a call of the network carries: batches, AND, padding, calls of their own, guidance left out."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.webui.asked import BCU, FULL, LONG, close, complaints


def test_3_a_batch_of_two_with_and(host: Any) -> None:
    prompts = ["a cat AND a dog :0.5 AND sofa <bcu:0.05:0.1> <boost:dog:3>", "castle <edit:dog:0.5>"]
    together = host.make(prompt=prompts, batch_size=2)
    for index, prompt in enumerate(prompts):
        assert close(host.make(prompt=prompt, seed=1 + index)[0], together[index])
    assert not close(host.make(prompt="a cat AND a dog :0.5 AND sofa <bcu:0.05:0.1>")[0], together[0])


@pytest.mark.parametrize("option", ["", "pad_cond_uncond", "pad_cond_uncond_v0"])
@pytest.mark.parametrize("long_side", ["negative_prompt", "prompt"])
@pytest.mark.parametrize("batched", [True, False])
def test_4_sides_of_unequal_length(host: Any, option: str, long_side: str, batched: bool) -> None:
    if option:
        setattr(host.shared.opts, option, True)
    host.shared.opts.batch_cond_uncond = batched
    asked = {"prompt": FULL, "negative_prompt": "dog"}
    asked[long_side] = f"{asked[long_side]}, {LONG}"
    plain = host.make(prompt=asked["prompt"].split("<")[0], negative_prompt=asked["negative_prompt"])
    job = host.job(**asked)
    made = host.processing.process_images(job).images[0]
    assert not complaints(job)
    assert not close(made, plain[0])
    pair = host.make(prompt=[asked["prompt"], "castle"], negative_prompt=asked["negative_prompt"], batch_size=2)
    assert close(pair[0], made)


def test_5_conditional_and_unconditional_in_calls_of_their_own(host: Any) -> None:
    together = host.make(prompt=FULL, batch_size=2)
    host.shared.opts.batch_cond_uncond = False
    assert close(host.make(prompt=FULL, batch_size=2), together)


def test_6_unconditional_rows_left_out_early(host: Any) -> None:
    host.shared.opts.skip_early_cond = 0.5
    plain = host.make(prompt="a cat on a sofa")
    job = host.job(prompt=FULL)
    assert not close(host.processing.process_images(job).images[0], plain[0])
    assert not complaints(job)


@pytest.mark.parametrize("every_step", [False, True])
def test_6_unconditional_rows_left_out_where_there_is_little_noise(host: Any, every_step: bool) -> None:
    """Negative guidance minimum sigma (NGMS), at every other step or at all of them."""
    host.shared.opts.s_min_uncond_all = every_step
    plain = host.make(prompt="a cat on a sofa", s_min_uncond=2.0)
    job = host.job(prompt=FULL, s_min_uncond=2.0)
    made = host.processing.process_images(job).images[0]
    assert not close(made, plain[0])
    assert not close(made, host.make(prompt=FULL)[0])
    assert not complaints(job)
    together = host.make(prompt=[FULL, "castle"], batch_size=2, s_min_uncond=2.0)
    assert close(together[0], made)
    if every_step:
        at_all_levels = host.make(prompt=FULL, s_min_uncond=100.0)
        host.shared.opts.skip_early_cond = 1.0
        assert torch.equal(host.make(prompt=FULL), at_all_levels)


def test_22_guidance_of_one(host: Any) -> None:
    plain = host.make(prompt="a cat on a sofa", cfg_scale=1.0)
    assert not close(host.make(prompt=FULL, cfg_scale=1.0)[0], plain[0])


def test_every_picture_of_a_batch_has_its_own_plan(host: Any) -> None:
    prompts = ["a cat <edit:dog:0.5>", "a cat", "a cat <bcu:0.05:0.1>", "sofa <boost:sofa:2>"]
    together = host.make(prompt=prompts, batch_size=2, n_iter=2)
    for index, prompt in enumerate(prompts):
        assert close(host.make(prompt=prompt, seed=1 + index)[0], together[index])
    result = host.processing.process_images(host.job(prompt=prompts, batch_size=2, n_iter=2))
    assert [text.get("EBCA") for text in result.infotexts] == [
        "<edit:dog:0.5>",
        None,
        "<bcu:0.05:0.1>",
        "<boost:sofa:2>",
    ]


def test_a_network_that_runs_its_body_twice(host: Any) -> None:
    """ControlNet's reference sends a second picture through before the first."""
    unet = host.shared.sd_model.model.diffusion_model
    original = unet.forward
    made = host.make(prompt=FULL)

    def reference(x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        original(x.flip(0), timesteps, context=context)
        output: Tensor = original(x, timesteps, context=context)
        return output

    unet.forward = reference
    try:
        assert torch.equal(host.make(prompt=FULL), made)
    finally:
        del unet.forward


def test_rows_of_an_extension_of_another_make_stop_us_with_one_sentence(host: Any) -> None:
    """Tiles: the same step comes several times with more rows than it has."""
    unet = host.shared.sd_model.model.diffusion_model
    job = host.job(prompt=FULL)

    class Tiled(nn.Module):
        def __call__(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
            output: Tensor = unet(x.repeat(3, 1, 1, 1), timesteps.repeat(3), context=context.repeat(3, 1, 1))
            return output[: len(x)]

    network = host.processing.sampling.CFGDenoiser._network

    def tiled(self: Any, x: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        return Tiled()(x, torch.full((len(x),), float(sigma) * 60), context)

    host.processing.sampling.CFGDenoiser._network = tiled
    try:
        host.processing.process_images(job)
    finally:
        host.processing.sampling.CFGDenoiser._network = network
    assert [comment for comment in job.comments if "rows of its own" in comment]
    assert host.clean()


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("prompts", [[FULL], [FULL, "a cat on a sofa"]])
def test_a_call_beside_the_steps_own_that_sends_the_prompts_on_either_side(
    host: Any, monkeypatch: pytest.MonkeyPatch, prompts: list[str], batched: bool
) -> None:
    """Perturbed guidance asks so after each step; where it perturbs nothing, the answers are the prompts' own."""
    host.shared.opts.batch_cond_uncond = batched
    denoiser, count = host.processing.sampling.CFGDenoiser, len(prompts)
    network = denoiser._network
    answers: list[Tensor] = []
    apart: list[float] = []

    def perturbed(self: Any, x: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        output: Tensor = network(self, x, sigma, context)
        answers.extend(output)
        if len(answers) == count:
            self.first_context = context
        if len(answers) == 2 * count:
            prompt = (context if batched else self.first_context)[:count]
            beside = network(self, x[:count].repeat(2, 1, 1, 1), sigma, prompt.repeat(2, 1, 1))
            apart.append(float((beside - torch.stack(answers[:count]).repeat(2, 1, 1, 1)).abs().max()))
            answers.clear()
        return output

    monkeypatch.setattr(denoiser, "_network", perturbed)
    job = host.job(prompt=prompts, batch_size=count)
    host.processing.process_images(job)
    assert not complaints(job)
    assert len(apart) >= 3 and max(apart) < 1e-4
    assert host.clean()


def test_pictures_do_not_depend_on_their_neighbours(host: Any) -> None:
    prompts = [FULL, "castle", BCU]
    for order in itertools.permutations(range(3), 3):
        batch = host.make(prompt=[prompts[i] for i in order], batch_size=3, seed=5)
        alone = host.make(prompt=prompts[order[0]], seed=5)
        assert close(batch[0], alone[0])
