"""Forge and reForge: nothing of ours in the picture, and one sentence that says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.webui.asked import FULL


@pytest.fixture(autouse=True)
def forge(host: Any) -> None:
    """Every model there carries these, whatever else it lacks."""
    host.shared.sd_model.forge_objects = SimpleNamespace()


@pytest.mark.parametrize("args", [None, [True], [{"energies": True}], [{"edits": [{"text": "dog"}]}]])
def test_the_picture_is_the_plain_one_and_one_sentence_says_why(host: Any, args: list[Any] | None) -> None:
    plain = host.make(prompt="a cat on a sofa", enable_hr=True)
    seen: list[bool] = []
    job = host.job(args, prompt=FULL, enable_hr=True, on_step=lambda _: seen.append(host.clean()))
    result = host.processing.process_images(job)
    assert torch.equal(result.images[0], plain[0])
    assert all(seen)
    assert [comment for comment in job.comments if "Forge" in comment]
    assert len(job.comments) == 1
    assert "EBCA" not in result.infotexts[0]
    assert not any("<" in text for text in host.shared.sd_model.cond_stage_model.texts)
    assert not host.errors.reported


def test_edit_this_picture_leaves_the_job_alone(host: Any) -> None:
    asked: dict[str, Any] = {"prompt": "a cat", "is_img2img": True, "init_images": [Image.new("RGB", (64, 48))]}
    plain = host.make(**asked)
    job = host.job([{"photo": True}], **asked)
    result = host.processing.process_images(job)
    assert torch.equal(result.images[0], plain[0])
    assert job.sampler_name == "Euler"
    assert len(job.comments) == 1
    assert "EBCA inversion" not in result.infotexts[0]


def test_without_ebca_nothing_is_said(host: Any) -> None:
    job = host.job(prompt="a cat")
    host.processing.process_images(job)
    assert not job.comments


def test_no_chips_where_the_model_has_no_encoder_of_the_kind(host: Any) -> None:
    from modules import sd_models

    from lib_ebca.webui import check

    sd_models.model_data.sd_model = SimpleNamespace(forge_objects=SimpleNamespace())
    assert check.checked("a cat <edit:dog:0.5>") == {"error": None, "words": []}
    assert check.checked("a cat <edit:dog>")["error"] is not None
