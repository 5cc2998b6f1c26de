"""Subjects in a running WebUI: every way of asking for a picture, and nothing left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.webui_live.client import Made, RefusedError, WebUI, alike, encoded

PROMPT = "a cat wearing a shirt"
# A model of random weights looks at everything alike: its latent needs large steps to show that it was moved.
CAT = "<excite:cat:scale=3000:refine=off>"
SHIRT = "<excite:shirt:scale=3000:refine=off>"
SD1, SDXL, INPAINTING = "tiny-sd15", "tiny-sdxl", "tiny-sd15-inpainting"
PHOTO = encoded((200, 90, 40), size=128, left=True)
MASK = encoded((255, 255, 255), size=128, left=True)
LARGE: dict[str, Any] = {"width": 128, "height": 128}
FROM_PHOTO: dict[str, Any] = {**LARGE, "kind": "img2img", "init_images": [PHOTO], "denoising_strength": 0.9}
HIRES: dict[str, Any] = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.7}
WITHOUT_GRID: dict[str, Any] = {"override_settings": {"return_grid": False}}


@pytest.fixture(autouse=True)
def plain_before_and_after(webui: WebUI) -> Iterator[Made]:
    """A plain picture has the same bytes before and after every test."""
    with webui.settings(live_previews_enable=False), webui.model(SD1):
        webui.make(prompt=PROMPT, **LARGE)
        plain = webui.make(prompt=PROMPT, **LARGE)
        yield plain
        assert webui.make(prompt=PROMPT, **LARGE) == plain


@pytest.mark.parametrize(
    "asked",
    [
        LARGE,
        {**LARGE, "sampler_name": "Heun"},
        {**LARGE, "sampler_name": "DDIM"},
        {**LARGE, "sampler_name": "DPM++ 2M"},
        {**LARGE, "cfg_scale": 1},
        {**LARGE, "negative_prompt": "castle, " * 40},
        FROM_PHOTO,
        {**FROM_PHOTO, "mask": MASK, "inpaint_full_res": False},
        {**LARGE, **HIRES},
    ],
    ids=["Euler", "Heun", "DDIM", "DPM++ 2M", "guidance 1", "long negative", "img2img", "inpaint", "hires"],
)
def test_a_subject_acts_and_acts_alike_twice(webui: WebUI, asked: dict[str, Any]) -> None:
    plain = webui.make(prompt=PROMPT, **asked)
    made = webui.make(prompt=f"{PROMPT} {CAT}", **asked)
    assert not alike(made, plain)
    assert alike(webui.make(prompt=f"{PROMPT} {CAT}", **asked), made)
    assert not alike(webui.make(prompt=f"{PROMPT} {SHIRT}", **asked), made)
    assert all("<excite:cat:scale=3000" in text for text in made.infotexts)
    assert alike(webui.make(prompt=PROMPT, **asked), plain)


def test_the_row_is_the_directive(webui: WebUI) -> None:
    row = {"attn": 0, "norm": 0, "subjects": "cat:refine=off:scale=3000"}
    assert alike(webui.make([row], prompt=PROMPT, **LARGE), webui.make(prompt=f"{PROMPT} {CAT}", **LARGE))


def test_refinement_moves_the_latent_further(webui: WebUI) -> None:
    refined, not_refined = (
        webui.make(prompt=f"{PROMPT} <excite:cat:scale=100{off}>", **LARGE) for off in ("", ":refine=off")
    )
    assert not alike(refined, not_refined)


def test_a_batch_of_two_equals_two_singles(webui: WebUI) -> None:
    prompt = f"{PROMPT} {CAT}"
    together = webui.make(prompt=prompt, batch_size=2, **LARGE, **WITHOUT_GRID)
    alone = tuple(webui.make(prompt=prompt, seed=7 + place, **LARGE).pictures[0] for place in range(2))
    assert alike(together, Made(alone, ()), pixels_off=0.05)


def test_each_part_of_an_and_has_its_subject(webui: WebUI) -> None:
    plain = webui.make(prompt="a cat AND a shirt :0.7", **LARGE)
    made = [webui.make(prompt=f"a cat AND a shirt :0.7 {subject}", **LARGE) for subject in (CAT, SHIRT)]
    assert not alike(made[0], plain)
    assert not alike(made[1], plain)
    assert not alike(made[0], made[1])


def test_beside_an_update_edits_and_boosts(webui: WebUI) -> None:
    rest = f"{PROMPT} <bcu:0.02:0.02> <edit:dog:0.5> <boost:shirt:2>"
    subject = CAT.replace("3000", "300")
    assert not alike(webui.make(prompt=f"{rest} {subject}", **LARGE), webui.make(prompt=rest, **LARGE))


@pytest.mark.parametrize("button", ["interrupt", "skip"])
def test_interrupted_inside_a_refinement(webui: WebUI, button: str) -> None:
    """Of three steps each is refined up to twenty times; pressed in the first, none of that is done to its end."""
    asked = {"prompt": f"{PROMPT} <excite:cat:scale=0.001:until=1>", **LARGE}
    begun = time.monotonic()
    webui.make(**asked)
    whole = time.monotonic() - begun
    pressed = threading.Timer(whole / 6, lambda: webui.post(f"/sdapi/v1/{button}", {}))
    pressed.start()
    begun = time.monotonic()
    webui.make(**asked)
    cut = time.monotonic() - begun
    pressed.join()
    print(f"whole {whole:.2f} s, cut {cut:.2f} s")
    assert cut < 0.6 * whole


@pytest.mark.parametrize("name", [INPAINTING, SDXL])
def test_other_models(webui: WebUI, name: str) -> None:
    asked = {**FROM_PHOTO, "mask": MASK, "inpaint_full_res": False} if name == INPAINTING else LARGE
    with webui.model(name):
        plain = webui.make(prompt=PROMPT, **asked)
        assert not alike(webui.make(prompt=f"{PROMPT} {CAT}", **asked), plain)
        assert alike(webui.make(prompt=PROMPT, **asked), plain)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("a cat <excite:castle>", r"castle.* is not in the prompt"),
        ("a [cat:castle:0.5] <excite:cat>", r"cat.* stands in some stages of the prompt alone"),
        ("a cat <excite:cat:until=2>", r"until is 2.0: it should be a fraction of the pass"),
    ],
)
def test_what_cannot_be_is_one_sentence(webui: WebUI, prompt: str, sentence: str) -> None:
    with pytest.raises(RefusedError, match=sentence):
        webui.make(prompt=prompt)


def test_a_rows_fault_is_told_once(webui: WebUI) -> None:
    with pytest.raises(RefusedError) as caught:
        webui.make([{"subjects": "cat:until=2"}], prompt=PROMPT)
    assert str(caught.value).count("it should be") == 1
