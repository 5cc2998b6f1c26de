"""Sampling passes: hires fix, the upscale button, jobs inside jobs, one job for several pictures, double calls."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.webui.asked import FULL, close
from tests.webui.host import model


def test_7_hires_with_another_prompt_size_sampler_and_checkpoint(host: Any) -> None:
    first, other = host.shared.sd_model, model(seed=9)
    asked: dict[str, Any] = {"enable_hr": True, "hr_sampler_name": "Heun", "hr_scale": 1.5, "hr_second_pass_steps": 3}
    plain = host.make(prompt="a cat", hr_prompt="castle", **asked)
    edited = host.make(prompt="a cat", hr_prompt="castle <edit:dog:0.5>", **asked)
    assert not close(edited[0], plain[0])
    host.shared.sd_model = first
    elsewhere = host.make(prompt="a cat", hr_prompt="castle <edit:dog:0.5>", hr_checkpoint=other, **asked)
    assert not close(elsewhere[0], edited[0])
    assert "dog" in other.cond_stage_model.texts
    assert host.clean()
    host.shared.sd_model = first


@pytest.mark.parametrize(("passes", "acts"), [("both passes", (1, 1)), ("first pass", (1, 0)), ("hires pass", (0, 1))])
def test_7_the_accordion_acts_in_the_passes_that_are_chosen(host: Any, passes: str, acts: tuple[int, int]) -> None:
    seen: list[bool] = []
    named = [{"passes": passes, "attn": 0.05}]
    job = host.job(named, prompt="a cat", enable_hr=True, on_step=lambda _: seen.append(not host.clean()))
    host.processing.process_images(job)
    assert seen == [bool(acts[0])] * 4 + [bool(acts[1])] * 4


def test_8_the_upscale_button_goes_straight_to_the_hires_pass(host: Any) -> None:
    latent = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(4))
    plain = host.make(prompt="a cat", enable_hr=True, firstpass_image=latent)
    job = host.job(prompt="a cat <edit:dog:0.5>", enable_hr=True, firstpass_image=latent)
    assert not close(host.processing.process_images(job).images[0], plain[0])
    assert host.clean(job.sampler)


@pytest.mark.parametrize("allowed", [True, False])
def test_9_a_job_inside_a_job(host: Any, allowed: bool) -> None:
    """ADetailer: img2img on a txt2img picture, our script in its runner or not, odd hooks before and after."""
    script = host.runner.alwayson_scripts[0]
    inner_texts: list[str] = []

    class Detailer(host.scripts.Script):
        def title(self) -> str:
            return "ADetailer"

        def ui(self, is_img2img: bool) -> list[Any]:
            return []

        def postprocess_image(self, p: Any) -> None:
            script.postprocess(copy.copy(p), SimpleNamespace(images=[], infotexts=[]), *p.script_args)
            runner = copy.copy(host.runner)
            runner.alwayson_scripts = [script] if allowed else []
            inner = host.processing.Processing(
                scripts=runner, script_args=p.script_args, is_img2img=True, prompt=p.all_prompts[0], steps=4
            )
            host.processing.process_images(inner)
            inner_texts.extend(host.shared.sd_model.cond_stage_model.texts)
            again = copy.copy(p)
            script.process(again, *p.script_args[script.args_from : script.args_to])

    alone = host.make(prompt=FULL, n_iter=2)
    host.runner.alwayson_scripts.append(Detailer())
    made = host.make(prompt=FULL, n_iter=2)
    assert torch.equal(made, alone)
    assert not host.errors.reported
    assert not any("<edit" in text for text in inner_texts)
    from modules import extra_networks

    assert extra_networks.unknown == []


def test_11_one_job_used_again_for_the_next_picture(host: Any) -> None:
    """Loopback and img2img batch keep the processing object and change it."""
    job = host.job(prompt=FULL, is_img2img=True)
    first = host.processing.process_images(job).images[0]
    job.prompt, job.seed = "castle", 1
    plain = host.processing.process_images(job)
    assert torch.equal(plain.images[0], host.make(prompt="castle", is_img2img=True)[0])
    assert "EBCA" not in plain.infotexts[0]
    job.prompt = FULL
    assert torch.equal(host.processing.process_images(job).images[0], first)


def test_19_two_calls_before_one_pass(host: Any) -> None:
    job = host.job(prompt=FULL)
    script = host.runner.alwayson_scripts[0]
    original = job.before_sampling

    def twice(*args: Any) -> None:
        original(*args)
        script.process_before_every_sampling(job)

    made = host.make(prompt=FULL)
    job.before_sampling = twice
    assert torch.equal(host.processing.process_images(job).images[0], made[0])
    assert host.clean(job.sampler)


def test_19_a_sampler_that_somebody_else_wrapped_too(host: Any) -> None:
    made = host.make(prompt=FULL, is_img2img=True, n_iter=2)
    calls: list[int] = []
    job = host.job(prompt=FULL, is_img2img=True, n_iter=2)
    original = job.before_sampling

    def wrapping(*args: Any) -> None:
        original(*args)
        found = job.sampler.launch_sampling

        def counted(*more: Any) -> Any:
            calls.append(1)
            return found(*more)

        job.sampler.launch_sampling = counted

    job.before_sampling = wrapping
    assert torch.equal(torch.stack(host.processing.process_images(job).images), made)
    assert calls
    assert host.clean()
