"""Concepts in a running WebUI: the published vectors on SD 1, measured ones on SDXL, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lib_ebca.methods.head_vectors import HeadVectors
from tests.webui_live.client import RefusedError, WebUI, alike, encoded

PROMPT = "a cat wearing a shirt"
SHIRT = "<concept:shirt:Color=4>"
SD1, SDXL = "tiny-sd15", "tiny-sdxl"
SDXL_HEADS = (8,) * 4 + (16,) * 60 + (8,) * 6
ROW = {"enabled": True, "attn": 0, "norm": 0, "concept_word": "shirt", "concept_name": "Color", "concept_factor": 4}


@pytest.fixture(autouse=True)
def plain_before_and_after(webui: WebUI) -> Iterator[None]:
    """A plain picture of SD 1 is the same before and after every test."""
    missing = {SD1, SDXL} - {each["model_name"] for each in webui.get("/sdapi/v1/sd-models")}
    if missing:
        pytest.skip(f"the WebUI has no checkpoints {sorted(missing)}")
    with webui.settings(live_previews_enable=False), webui.model(SD1):
        plain = webui.make(prompt=PROMPT)
        yield
        assert alike(webui.make(prompt=PROMPT), plain)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"batch_size": 2},
        {"sampler_name": "DPM++ 2M"},
        {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.7},
        {"kind": "img2img", "init_images": [encoded((200, 40, 40))], "denoising_strength": 0.7},
        {"negative_prompt": "castle, " * 40},
    ],
    ids=["plain", "batch", "sampler", "hires", "img2img", "long negative"],
)
def test_a_directive_acts_as_the_row_does(webui: WebUI, asked: dict[str, Any]) -> None:
    plain = webui.make(prompt=PROMPT, **asked)
    made = webui.make(prompt=f"{PROMPT} {SHIRT}", **asked)
    assert not alike(made, plain)
    assert alike(webui.make([ROW], prompt=PROMPT, **asked), made)
    assert all("<concept:shirt:Color=4>" in text for text in made.infotexts)
    assert alike(webui.make(prompt=PROMPT, **asked), plain)


def test_a_window_that_never_opens_changes_nothing(webui: WebUI) -> None:
    never = webui.make(prompt=f"{PROMPT} <concept:shirt:Color=4:from=0.5:until=0.5>")
    assert alike(never, webui.make(prompt=PROMPT))


def test_a_subject_is_read_off_the_heads_of_a_concept(webui: WebUI) -> None:
    asked: dict[str, Any] = {"steps": 4}
    plain = webui.make(prompt=PROMPT, **asked)
    subject = "<excite:cat:scale=500:refine=off{}>"
    made = [webui.make(prompt=f"{PROMPT} {subject.format(by)}", **asked) for by in ("", ":concept=Animals")]
    assert not alike(made[0], plain)
    assert not alike(made[1], plain)
    assert not alike(made[0], made[1])


def test_what_cannot_be_is_one_sentence(webui: WebUI) -> None:
    with pytest.raises(RefusedError, match=r"no concept 'Colour' \(did you mean Color\?\)"):
        webui.make(prompt=f"{PROMPT} <concept:shirt:Colour>")
    with pytest.raises(RefusedError, match=r"hat.* is not in the prompt"):
        webui.make(prompt=f"{PROMPT} <concept:hat:Color>")


def test_sdxl_takes_measured_vectors(webui: WebUI, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    # The small model that a Forge is given (``companions``) has heads of 64, and an eighth of them.
    heads = tuple(each // 8 for each in SDXL_HEADS) if webui.forge else SDXL_HEADS
    relevance = 3 * torch.rand(2, sum(heads), generator=generator)
    HeadVectors(("Color", "Animals"), relevance, heads, "made up").write(tmp_path / "vectors.json")
    with webui.model(SDXL):
        with pytest.raises(RefusedError, match="no head relevance vectors are published for a UNet of 70 layers"):
            webui.make(prompt=f"{PROMPT} {SHIRT}")
        plain = webui.make(prompt=PROMPT)
        with webui.settings(ebca_head_vectors=str(tmp_path / "vectors.json")):
            for directive in (SHIRT, "<excite:cat:concept=Animals:scale=500:refine=off>"):
                assert not alike(webui.make(prompt=f"{PROMPT} {directive}"), plain)
        assert alike(webui.make(prompt=PROMPT), plain)
