"""A running WebUI with checkpoints of other shapes, and a refiner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.webui_live.client import WebUI, alike, encoded

PROMPT = "a cat wearing a shirt"
FULL = f"{PROMPT} <bcu:0.02:0.02> <edit:dog:0.6:from=0.3> <edit:hat:-0.3> <boost:shirt:2.5>"
SD1, OTHER_SD1, INPAINTING, SDXL = "tiny-sd15", "tiny-sd15-b", "tiny-sd15-inpainting", "tiny-sdxl"


@pytest.fixture(autouse=True)
def models_are_there(webui: WebUI) -> None:
    found = {each["model_name"] for each in webui.get("/sdapi/v1/sd-models")}
    missing = {SD1, OTHER_SD1} - found
    if missing:
        pytest.skip(f"the WebUI has no checkpoints {sorted(missing)}")


@pytest.fixture(autouse=True)
def sd1_before_and_after(webui: WebUI, models_are_there: None) -> Iterator[None]:
    """A plain picture of SD 1 is the same before and after every test."""
    # The approximate decoder of SDXL's previews would be fetched from the internet.
    with webui.settings(live_previews_enable=False), webui.model(SD1):
        plain = webui.make(prompt=PROMPT)
        yield
        assert alike(webui.make(prompt=PROMPT), plain)


def test_sdxl_between_two_pictures_of_sd1(webui: WebUI) -> None:
    with webui.model(SD1):
        made = webui.make(prompt=FULL)
    with webui.model(SDXL):
        plain = webui.make(prompt=PROMPT)
        edited = webui.make(prompt=f"{PROMPT} <edit:dog:0.6>")
        updated = webui.make(prompt=f"{PROMPT} <bcu:0.002:0.004> <boost:shirt:2>")
        assert not alike(edited, plain)
        assert not alike(updated, plain)
        assert alike(webui.make(prompt=f"{PROMPT} <edit:dog:0.6>"), edited)
        assert alike(webui.make(prompt=PROMPT), plain)
    with webui.model(SD1):
        assert alike(webui.make(prompt=FULL), made)


def test_an_inpainting_model_with_a_mask_that_gates_the_update(webui: WebUI) -> None:
    asked: dict[str, Any] = {
        "kind": "img2img",
        "init_images": [encoded((90, 120, 200))],
        "inpaint_full_res": False,
        "denoising_strength": 1.0,
    }
    with webui.model(INPAINTING):
        masks = {"whole": encoded((255, 255, 255)), "left half": encoded((255, 255, 255), left=True)}
        for mask in masks.values():
            # The picture's encoding is drawn with whatever noise the job before has left.
            webui.make(prompt=PROMPT, mask=mask, **asked)
            plain = webui.make(prompt=PROMPT, mask=mask, **asked)
            made = webui.make(prompt=FULL, mask=mask, **asked)
            assert not alike(made, plain)
            assert alike(webui.make(prompt=PROMPT, mask=mask, **asked), plain)


@pytest.mark.parametrize("name", [SDXL, INPAINTING])
def test_a_picture_is_edited_from_its_inversion(webui: WebUI, name: str) -> None:
    asked: dict[str, Any] = {
        "kind": "img2img",
        "prompt": PROMPT,
        "init_images": [encoded((90, 120, 200))],
        "denoising_strength": 0.75,
        "steps": 4,
    }
    form = {"attn": 0, "norm": 0, "photo": True}
    with webui.model(name):
        kept = webui.make([form], **asked)
        edited = webui.make([{**form, "edits": [{"text": "dog", "strength": 0.6}]}], **asked)
        assert not alike(edited, kept)
        assert alike(webui.make([form], **{**asked, "seed": 9}), kept, pixels_off=0.05)


REFINED: dict[str, Any] = {"refiner_checkpoint": OTHER_SD1, "refiner_switch_at": 0.5, "steps": 6}


def test_the_refiner_takes_over_and_the_first_model_comes_back(webui: WebUI) -> None:
    # Neo counts noise levels unless told to count steps.
    with webui.model(SD1), webui.settings(**webui.has_settings(refiner_use_steps=True)):
        # After a job without a refiner Neo makes another picture than after one with it, without EBCA too.
        webui.make(prompt=PROMPT, **REFINED)
        plain = webui.make(prompt=PROMPT, **REFINED)
        made = webui.make(prompt=FULL, **REFINED)
        assert not alike(made, plain)
        assert alike(webui.make(prompt=FULL, **REFINED), made)
        # What acts only after the switch does not act: EBCA ends where the refiner begins.
        late = webui.make(prompt=f"{PROMPT} <edit:dog:0.6:from=0.7>", **REFINED)
        assert alike(late, plain)


def test_a_refiner_that_is_loaded_over_the_first_model(webui: WebUI) -> None:
    """The modules stay, and so does EBCA."""
    with webui.model(SD1), webui.settings(refiner_fast_sd=True, refiner_use_steps=True):
        webui.make(prompt=PROMPT, **REFINED)
        plain = webui.make(prompt=PROMPT, **REFINED)
        late = webui.make(prompt=f"{PROMPT} <edit:dog:0.6:from=0.7>", **REFINED)
        assert not alike(late, plain)
        assert alike(webui.make(prompt=f"{PROMPT} <edit:dog:0.6:from=0.7>", **REFINED), late)
        assert alike(webui.make(prompt=PROMPT, **REFINED), plain)


def test_weights_stored_in_eight_bits(webui: WebUI) -> None:
    # A model that was stored so comes back from it slightly changed, in a WebUI without extensions too.
    with webui.model(OTHER_SD1), webui.settings(fp8_storage="Enable"):
        plain = webui.make(prompt=PROMPT)
        made = webui.make(prompt=FULL)
        assert not alike(made, plain)
        assert alike(webui.make(prompt=FULL), made)
        assert alike(webui.make(prompt=PROMPT), plain)


def test_hires_fix_with_another_checkpoint(webui: WebUI) -> None:
    with webui.model(SD1):
        asked: dict[str, Any] = {
            "enable_hr": True,
            "hr_scale": 1.5,
            "hr_checkpoint_name": OTHER_SD1,
            "hr_prompt": "a castle",
            "denoising_strength": 0.7,
        }
        plain = webui.make(prompt=PROMPT, **asked)
        first = webui.make(prompt=f"{PROMPT} <edit:dog:0.6>", **asked)
        second = webui.make(prompt=PROMPT, **{**asked, "hr_prompt": "a castle <edit:dog:0.6>"})
        assert not alike(first, plain)
        assert not alike(second, plain)
        assert not alike(second, first)
