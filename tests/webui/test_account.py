"""What stands under the pictures: what acted, and which step was too large where nothing came."""

from __future__ import annotations

from typing import Any

import pytest
import torch

CAT = "a cat on a sofa"
UPDATE = f"{CAT} <bcu:0.05:0.1> <boost:cat:2> <edit:dog:0.6:from=0.5>"


def told(host: Any, **asked: Any) -> list[str]:
    job = host.job(**asked)
    host.processing.process_images(job)
    return [*job.comments]


def layers(host: Any) -> int:
    from lib_ebca.hosts.ldm import cross_attention_layers

    return len(cross_attention_layers(host.shared.sd_model.model.diffusion_model))


def test_what_acted_is_told_once_for_pictures_of_one_plan(host: Any) -> None:
    assert told(host, prompt=UPDATE, batch_size=2) == [
        f"EBCA acted in {layers(host)} layers; evaluations: update (0.05, 0.1, cat at 2) in 4 of 4, "
        "edit dog (+0.6) in 2 of 4."
    ]
    assert told(host, prompt=CAT) == []


def test_pictures_of_different_plans_and_passes_are_told_apart(host: Any) -> None:
    found = told(host, prompt=[f"{CAT} <edit:dog:0.5>", CAT, f"{CAT} <edit:hat:-0.25>"], batch_size=3)
    start = f"EBCA acted in {layers(host)} layers; evaluations:"
    assert found == [
        f"Picture 1: {start} edit dog (+0.5) in 4 of 4.",
        f"Picture 3: {start} edit hat (-0.25) in 4 of 4.",
    ]
    found = told(host, prompt=f"{CAT} <edit:dog:0.5>", hr_prompt=f"{CAT} <edit:hat:0.4>", enable_hr=True)
    assert found == [f"{start} edit dog (+0.5) in 4 of 4.", f"Hires pass: {start} edit hat (+0.4) in 4 of 4."]


def test_evaluations_are_those_that_took_place(host: Any) -> None:
    def press(step: int) -> None:
        host.shared.state.interrupted = step == 2

    (found,) = told(host, prompt=f"{CAT} <edit:dog:0.5>", on_step=press)
    assert found.endswith("edit dog (+0.5) in 3 of 3.")
    host.shared.state.interrupted = False
    (heun,) = told(host, prompt=f"{CAT} <edit:dog:0.5>", sampler_name="Heun")
    assert heun.endswith("in 7 of 7.")


def test_a_step_that_is_too_large_is_named_before_the_hosts_own_words(host: Any) -> None:
    with pytest.raises(ValueError, match=r"attn is 1e\+30 \(published: 0.01\).* \(The WebUI: A tensor with NaNs"):
        host.make(prompt=f"{CAT} <bcu:1e30:0.02>")


def test_where_the_host_does_not_look_it_is_told_under_the_picture(host: Any) -> None:
    host.shared.cmd_opts.disable_nan_check = True
    plain, broken = f"{CAT} <bcu:0.05:0.1>", f"{CAT} <bcu:1e30:0.02>"
    job = host.job(prompt=[plain, broken], batch_size=2)
    result = host.processing.process_images(job)
    assert torch.isfinite(result.images[0]).all()
    assert not torch.isfinite(result.images[1]).all()
    (fault,) = [comment for comment in job.comments if "not finite" in comment]
    assert "attn is 1e+30 (published: 0.01)" in fault
    assert "0.05" not in fault
