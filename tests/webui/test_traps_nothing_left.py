"""Off is off, and nothing of ours stays behind: errors, interruptions, reloads, other models."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.webui.asked import BCU, FULL, LONG, ON, Stop, at, close
from tests.webui.host import model


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_1_an_error_in_mid_sampling_leaves_nothing(host: Any, error: type[BaseException]) -> None:
    plain = host.make(prompt="a cat")
    job = host.job(prompt=FULL, on_step=at(2, error))
    with pytest.raises(error):
        host.processing.process_images(job)
    assert host.clean(job.sampler)
    assert torch.equal(host.make(prompt="a cat"), plain)


def test_2_off_is_bit_identical_to_never_having_been_there(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    without = host.processing.Processing(scripts=host.scripts.ScriptRunner(), prompt="a cat on a sofa")
    plain = host.processing.process_images(without).images[0]
    assert not torch.equal(host.make(prompt=FULL)[0], plain)
    from lib_ebca.webui import sampling

    monkeypatch.setattr(sampling.Pass, "conducted", None)
    job = host.job(prompt="a cat on a sofa")
    seen: list[bool] = []
    job.on_step = lambda step: seen.append(host.clean(job.sampler))
    assert torch.equal(host.processing.process_images(job).images[0], plain)
    assert seen == [True] * 4


def test_13_reload_ui_twice(host: Any) -> None:
    made = host.make(prompt=FULL)
    for _ in range(2):
        host.load_scripts()
    assert {name: len(callbacks) for name, callbacks in host.callbacks.items()} == {
        "ui_settings": 1,
        "before_ui": 2,
        "app_started": 1,
    }
    assert torch.equal(host.make(prompt=FULL), made)


def test_14_another_model_and_back(host: Any) -> None:
    first, other = host.shared.sd_model, model(seed=3, sdxl=True)
    made = host.make(prompt=FULL)
    host.shared.sd_model = other
    elsewhere = host.make(prompt=FULL)
    assert not close(elsewhere[0], made[0])
    assert host.clean()
    host.shared.sd_model = first
    assert torch.equal(host.make(prompt=FULL), made)


def test_15_the_refiner_takes_over(host: Any) -> None:
    first, other = host.shared.sd_model, model(seed=3)

    def switch(step: int) -> None:
        if step == 2:
            host.shared.sd_model = other

    job = host.job(prompt=FULL, on_step=switch)
    host.processing.process_images(job)
    assert [comment for comment in job.comments if "refiner" in comment]
    assert host.clean()
    host.shared.sd_model = first
    assert host.clean()


def test_20_a_model_of_another_kind(host: Any) -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
            return x * 0.1 + context.mean()

    host.shared.sd_model.model.diffusion_model = Other()
    plain = host.make(prompt="a cat")
    job = host.job(prompt="a cat <edit:dog:0.5>")
    assert torch.equal(host.processing.process_images(job).images[0], plain[0])
    assert any("another kind" in comment for comment in job.comments)
    silent = host.job(prompt="a cat")
    host.processing.process_images(silent)
    assert not silent.comments


def test_20_an_alternative_unet(host: Any) -> None:
    from modules import sd_unet

    plain = host.make(prompt="a cat")
    sd_unet.current_unet = object()
    job = host.job(prompt="a cat <edit:dog:0.5>")
    assert torch.equal(host.processing.process_images(job).images[0], plain[0])
    assert any("alternative UNet" in comment for comment in job.comments)


@pytest.mark.parametrize("button", ["interrupted", "skipped"])
def test_21_interrupted_and_then_used_again(host: Any, button: str) -> None:
    plain = host.make(prompt="castle")
    made = host.make(prompt=FULL)

    def press(step: int) -> None:
        if step == 1:
            setattr(host.shared.state, button, True)

    job = host.job(prompt=FULL, enable_hr=True, on_step=press)
    host.processing.process_images(job)
    assert host.clean(job.sampler)
    host.shared.state.interrupted = host.shared.state.skipped = False
    assert torch.equal(host.make(prompt="castle"), plain)
    assert torch.equal(host.make(prompt=FULL), made)


def test_a_hundred_odd_jobs_leave_the_next_plain_picture_alone(host: Any) -> None:
    from lib_ebca.webui.account import EBCA

    plain = host.make(prompt="castle")
    generator = torch.Generator().manual_seed(0)

    def chance(of: int) -> int:
        return int(torch.randint(of, (1,), generator=generator))

    prompts = ["a cat", BCU, FULL, "a cat AND dog <edit:sofa:0.3>", f"{LONG} <bcu>", "a cat <edit:dog>"]
    for number in range(100):
        for option in ("batch_cond_uncond", "pad_cond_uncond", "pad_cond_uncond_v0", "upcast_attn"):
            setattr(host.shared.opts, option, bool(chance(2)))
        error = (None, Stop, KeyboardInterrupt, "interrupted")[chance(4)]

        def disturb(step: int, error: Any = error) -> None:
            if step == 1 and error == "interrupted":
                host.shared.state.interrupted = True
            elif step == 1 and error is not None:
                raise error

        with contextlib.suppress(Stop, KeyboardInterrupt, EBCA):
            host.make(
                ON if chance(2) else None,
                prompt=prompts[chance(len(prompts))],
                steps=2,
                batch_size=1 + chance(2),
                enable_hr=bool(chance(2)),
                is_img2img=False,
                on_step=disturb,
            )
        host.shared.state.interrupted = False
        assert host.clean(), number
    host.shared.reset()
    assert torch.equal(host.make(prompt="castle"), plain)
