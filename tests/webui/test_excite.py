"""Subjects in the WebUI: the sampler's latent is moved, what became of it is told, and nothing stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.webui.asked import close

PHOTO = torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))


def made(host: Any, prompt: str, **asked: Any) -> tuple[Any, list[Tensor]]:
    job = host.job(prompt=prompt, is_img2img=True, sampler_name="DDIM", init_latent=PHOTO[:1], **asked)
    result = host.processing.process_images(job)
    return job, [image for image in result.images if isinstance(image, Tensor)]


def test_a_subject_moves_the_latent_that_the_sampler_goes_on_with(host: Any) -> None:
    _, plain = made(host, "a cat and a castle")
    job, moved = made(host, "a cat and a castle <excite:cat:scale=3000:refine=off>")
    assert not close(moved[0], plain[0])
    assert any("Subjects: the latent was moved in" in comment for comment in job.comments)
    assert host.clean(job.sampler)


def test_a_subject_without_a_step_size_leaves_the_picture_as_it_was(host: Any) -> None:
    _, plain = made(host, "a cat and a castle")
    _, same = made(host, "a cat and a castle <excite:cat:scale=0>")
    assert torch.equal(same[0], plain[0])


def test_each_part_of_an_and_may_have_a_subject(host: Any) -> None:
    prompt = "a cat AND a castle <excite:{}:scale=3000:refine=off>"
    _, cat = made(host, prompt.format("cat"))
    _, castle = made(host, prompt.format("castle"))
    assert not close(cat[0], castle[0])


def test_weights_that_ask_for_gradients_do_so_afterwards(host: Any) -> None:
    unet = host.shared.sd_model.model.diffusion_model
    unet.requires_grad_(True)
    made(host, "a cat <excite:cat>")
    assert all(parameter.requires_grad for parameter in unet.parameters())
    unet.requires_grad_(False)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("a cat <excite:castle>", '"castle" is not in the prompt'),
        ("a [cat:castle:0.5] <excite:cat>", '"cat" stands in some stages of the prompt alone'),
        ("a cat <excite:cat:until=2>", "until is 2.0: it should be a fraction of the pass"),
    ],
)
def test_what_cannot_be_is_one_sentence(host: Any, prompt: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        made(host, prompt)
