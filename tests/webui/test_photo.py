"""Edit this picture: the picture comes back without edits, and another one with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.webui.asked import complaints

CAPTION = "a cat"
STEPS = 20


@pytest.fixture(autouse=True)
def contracting(host: Any) -> None:
    """A trained network's estimate changes less than its input does; a random one's has to be made small for that."""
    with torch.no_grad():
        for parameter in host.shared.sd_model.model.diffusion_model.out[-1].parameters():
            parameter *= 0.1


def latent() -> Tensor:
    """Smooth, as pictures are."""
    noise = torch.randn(1, 4, 3, 4, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.interpolate(noise, (6, 8), mode="bilinear")


def asked(photo: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "args": [{"attn": 0, "norm": 0, "photo": True, **(photo or {})}],
        "prompt": CAPTION,
        "is_img2img": True,
        "init_images": [Image.new("RGB", (64, 48))],
        "init_latent": latent(),
        "steps": STEPS,
        "denoising_strength": 0.999,
        **more,
    }


def run(host: Any, **given: Any) -> tuple[Tensor, Any, Any]:
    job = host.job(**given)
    result = host.processing.process_images(job)
    return result.images[0], job, result


@pytest.mark.parametrize("strength", [0.5, 0.999])
def test_without_edits_the_picture_comes_back(host: Any, strength: float) -> None:
    picture, job, _ = run(host, **asked(denoising_strength=strength))
    assert (picture - latent()[0]).abs().max() < 2e-3
    assert job.sampler_name == "DDIM"
    assert host.clean(job.sampler)
    without, _, _ = run(host, **asked({"photo": False}, denoising_strength=strength, sampler_name="DDIM"))
    assert (without - latent()[0]).abs().max() > 0.1


@pytest.mark.parametrize("directive", ["<edit:dog:0.6>", "<edit:cat:-0.4>", "<bcu:0.05:0.1>"])
def test_edits_change_it_and_the_seed_does_not(host: Any, directive: str) -> None:
    plain, _, _ = run(host, **asked())
    picture, job, _ = run(host, **asked(prompt=f"{CAPTION} {directive}"))
    assert (picture - plain).abs().max() > 1e-2
    other, _, _ = run(host, **asked(prompt=f"{CAPTION} {directive}", seed=9))
    assert torch.equal(other, picture)
    assert not complaints(job)


def test_the_published_inversion_depends_on_the_seed(host: Any) -> None:
    exact, _, _ = run(host, **asked())
    published, _, result = run(host, **asked({"inversion": "published"}))
    assert (published - exact).abs().max() > 1e-2
    assert result.infotexts[0]["EBCA inversion"] == "published"
    again, _, _ = run(host, **asked({"inversion": "published"}))
    assert torch.equal(again, published)
    other, _, _ = run(host, **asked({"inversion": "published"}, seed=9))
    assert not torch.equal(other, published)


def test_an_empty_prompt_is_captioned_and_the_caption_is_written_down(host: Any) -> None:
    directive = "<edit:dog:0.6>"
    picture, job, result = run(host, **asked(prompt=directive))
    assert result.infotexts[0]["Prompt"] == f"a castle {directive}"
    assert job.all_negative_prompts == ["a castle"]
    written, _, _ = run(host, **asked(prompt=f"a castle {directive}"))
    assert torch.equal(picture, written)


def test_a_caption_that_fails_stops_the_job(host: Any) -> None:
    host.shared.interrogator = SimpleNamespace(interrogate=lambda image: "<error>")
    with pytest.raises(ValueError, match="Interrogate failed"):
        run(host, **asked(prompt=""))


def test_a_negative_prompt_of_ones_own_stays(host: Any) -> None:
    _, job, _ = run(host, **asked(negative_prompt="dog"))
    assert job.all_negative_prompts == ["dog"]


def test_too_few_steps_are_refused(host: Any) -> None:
    with pytest.raises(ValueError, match="raise the steps or the denoising strength"):
        run(host, **asked(denoising_strength=0.05))
    assert host.clean()


def test_infotext_there_and_back(host: Any) -> None:
    from lib_ebca.webui import infotext

    given = asked({"edits": [{"text": "dog", "strength": 0.6}]})
    picture, _, result = run(host, **given)
    form = infotext.read(result.infotexts[0])
    assert (form.photo, form.inversion) == (True, "fixed-point")
    again, _, _ = run(host, **{**given, "args": form.to_args()})
    assert torch.equal(again, picture)
    _, _, off = run(host, prompt=CAPTION)
    assert not infotext.read(off.infotexts[0]).photo


def test_in_txt2img_it_says_that_it_did_nothing(host: Any) -> None:
    plain = host.make(prompt=CAPTION)
    picture, job, result = run(host, args=[{"attn": 0, "norm": 0, "photo": True}], prompt=CAPTION)
    assert torch.equal(picture, plain[0])
    assert any("img2img" in comment for comment in job.comments)
    assert "EBCA inversion" not in result.infotexts[0]


def test_the_mask_keeps_the_pictures_own_noise_outside(host: Any) -> None:
    """The network reads the picture at the step's own noise outside the mask, and not the clean one."""
    mask = torch.zeros(4, 6, 8)
    mask[:, :, :4] = 1
    _, plain, _ = run(host, **asked())
    _, job, _ = run(host, **asked(prompt=f"{CAPTION} <edit:dog:0.9>", nmask=mask))
    outside = [fed[0, :, :, 4:] for fed in job.sampler.model_wrap_cfg.fed]
    expected = [fed[0, :, :, 4:] for fed in plain.sampler.model_wrap_cfg.fed]
    assert len(outside) == len(expected) == STEPS - 2
    for one, other in zip(outside, expected, strict=True):
        assert (one - other).abs().max() < 5e-3
    assert torch.equal(job.sampler.model_wrap_cfg.init_latent, latent())
    assert host.clean(job.sampler)


def test_interrupted_while_inverting(host: Any) -> None:
    unet = host.shared.sd_model.model.diffusion_model
    calls = 0

    def press(*_: Any) -> None:
        nonlocal calls
        calls += 1
        host.shared.state.interrupted = calls > 5

    handle = unet.register_forward_pre_hook(press)
    job = host.job(**asked())
    picture = host.processing.process_images(job).images[0]
    handle.remove()
    host.shared.state.interrupted = False
    assert calls == 6
    assert torch.equal(picture, latent()[0])
    assert not complaints(job)
    assert host.clean(job.sampler)


def test_several_prompts_of_a_batch_have_their_own_captions(host: Any) -> None:
    given = asked(prompt=["a cat", "a cat <edit:dog:0.6>"], batch_size=2, init_latent=latent().expand(2, -1, -1, -1))
    result = host.processing.process_images(host.job(**given))
    alone, _, _ = run(host, **asked(prompt="a cat <edit:dog:0.6>"))
    assert (result.images[0] - latent()[0]).abs().max() < 2e-3
    assert (result.images[1] - alone).abs().max() < 5e-3
