"""Whatever is asked, interrupted or broken: the next plain picture is what it was."""

from __future__ import annotations

import contextlib
import os
import random
from collections import Counter
from typing import Any

import pytest

from tests.webui_live.client import Made, RefusedError, WebUI, alike, encoded

ROUNDS = int(os.environ.get("EBCA_WEBUI_ROUNDS", "200"))
LOT = 10
PROMPT = "a cat wearing a shirt"
FULL = f"{PROMPT} <bcu:0.02:0.02> <edit:a dog, running:0.6:from=0.3> <edit:hat:-0.3> <boost:shirt:2.5>"
PROMPTS = (
    PROMPT,
    FULL,
    f"{PROMPT} AND hat :0.5 <bcu> <boost:hat:2>",
    f"{'cat, ' * 60} <bcu>",
    "a [cat:dog:0.5] <edit:[hat:shirt:0.5]:0.5>",
)
FAULTS = ("a cat <edit:dog>", "a cat <boost:castle:2>")
NAMED = {"attn": 0.03, "boosts": "cat:2", "edits": [{"text": "dog", "strength": 0.5}], "passes": "hires pass"}


def some_job(chance: random.Random) -> dict[str, Any]:
    """Options of a small picture."""
    asked: dict[str, Any] = {
        "prompt": chance.choice(PROMPTS),
        "negative_prompt": chance.choice(["", "ugly", "ugly, " * 40]),
        "steps": chance.choice([2, 3, 4]),
        "batch_size": chance.choice([1, 2]),
        "n_iter": chance.choice([1, 1, 2]),
        "sampler_name": chance.choice(["Euler a", "DPM++ 2M", "DDIM", "Heun", "UniPC", "LCM"]),
        "cfg_scale": chance.choice([1, 7]),
        "width": chance.choice([64, 64, 96]),
        "args": chance.choice([None, [True], [NAMED], [{"energies": True, "maps": True}]]),
    }
    kind = chance.choice(["txt2img", "txt2img", "hires", "img2img", "inpaint"])
    if kind == "hires":
        asked |= {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.7}
    elif kind != "txt2img":
        asked |= {"kind": "img2img", "init_images": [encoded((200, 90, 40))], "denoising_strength": 0.7}
    if kind == "inpaint":
        asked |= {"mask": encoded((255, 255, 255)), "inpaint_full_res": chance.random() < 0.5}
    asked["override_settings"] = {
        name: chance.random() < 0.5 for name in ("batch_cond_uncond", "pad_cond_uncond", "pad_cond_uncond_v0")
    }
    return asked


@pytest.fixture(scope="module")
def plain(webui: WebUI) -> Made:
    """The picture that has to stay the same."""
    # The host restores a setting after a job only if its file has it.
    kept = {"skip_early_cond": 0.0, "batch_cond_uncond": True, "pad_cond_uncond": False, "pad_cond_uncond_v0": False}
    webui.post("/sdapi/v1/options", webui.has_settings(**kept))
    return webui.make(prompt=PROMPT)


@pytest.mark.parametrize("lot", range(ROUNDS // LOT))
def test_odd_jobs_leave_the_next_plain_picture_alone(webui: WebUI, plain: Made, lot: int) -> None:
    """Random options, interruptions in mid-sampling, faulty directives, and errors in mid-sampling."""
    chance = random.Random(lot)
    happened: Counter[str] = Counter()
    for _ in range(LOT):
        asked = some_job(chance)
        asked["override_settings"] = webui.has_settings(**asked["override_settings"])
        disturbance = chance.choice(["none", "none", "interrupt", "skip", "fault", "error"])
        around: Any = contextlib.nullcontext()
        if disturbance in ("interrupt", "skip"):
            around = webui.interrupted(chance.choice([0, 1, 2]), disturbance)
        elif disturbance == "fault":
            asked["prompt"] = chance.choice(FAULTS)
        elif disturbance == "error":
            # The denoiser compares it with a number at its first step.
            asked["override_settings"]["skip_early_cond"] = "nonsense"
        happened[disturbance] += 1
        if disturbance in ("fault", "error"):
            with pytest.raises(RefusedError, match=r"TypeError|<edit:dog>|castle|UniPC order"):
                webui.make(**asked)
        else:
            try:
                with around:
                    webui.make(**asked)
            except RefusedError as error:
                # The host's own, in mid-sampling: few steps of img2img are too few for this sampler.
                assert "UniPC order" in str(error)
                happened["UniPC"] += 1
    print(dict(happened))
    assert alike(webui.make(prompt=PROMPT), plain)
