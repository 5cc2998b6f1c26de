"""What a running WebUI makes with EBCA on and off."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.webui_live.client import Made, RefusedError, WebUI, alike, encoded

PROMPT = "a cat wearing a shirt"
FULL = f"{PROMPT} <bcu:0.02:0.02> <edit:a dog, running:0.6:from=0.3> <edit:hat:-0.3> <boost:shirt:2.5>"


def test_off_is_the_webui_without_the_extension(webui: WebUI, plain_webui: WebUI) -> None:
    jobs: list[dict[str, Any]] = [
        {"prompt": PROMPT},
        {"prompt": f"{PROMPT} AND a dog", "batch_size": 2},
        {"prompt": PROMPT, "kind": "img2img", "init_images": [encoded((200, 90, 40))], "denoising_strength": 0.6},
    ]
    for job in jobs:
        without = plain_webui.make(**job)
        for with_it in (webui.make(**job), webui.make([False], **job)):
            assert alike(with_it, without)
            assert with_it.infotexts == without.infotexts


def test_updates_and_edits_change_the_picture_and_the_same_seed_gives_it_again(webui: WebUI) -> None:
    plain = webui.make(prompt=PROMPT)
    for prompt in (f"{PROMPT} <bcu>", f"{PROMPT} <edit:dog:0.6>", f"{PROMPT} <edit:dog:-0.3>", FULL):
        made = webui.make(prompt=prompt)
        assert not alike(made, plain)
        assert alike(webui.make(prompt=prompt), made)
    assert alike(webui.make(prompt=PROMPT), plain)


def test_the_accordion_and_the_directives_are_the_same_thing(webui: WebUI) -> None:
    directives = webui.make(prompt=f"{PROMPT} <bcu:0.02:0.01> <edit:dog:0.5:from=0.5>")
    named = [{"attn": 0.02, "norm": 0.01, "edits": [{"text": "dog", "strength": 0.5, "from": 0.5}]}]
    assert alike(webui.make(named, prompt=PROMPT), directives)


def test_a_batch_of_three_equals_three_singles(webui: WebUI) -> None:
    together = webui.make(prompt=FULL, batch_size=3, override_settings={"return_grid": False})
    alone = tuple(webui.make(prompt=FULL, seed=7 + i).pictures[0] for i in range(3))
    assert alike(together, Made(alone, ()), pixels_off=0.05)


@pytest.mark.parametrize("left", [False, True], ids=["whole", "left half"])
def test_inpainting_with_a_mask(webui: WebUI, left: bool) -> None:
    asked: dict[str, Any] = {
        "kind": "img2img",
        "init_images": [encoded((90, 120, 200))],
        "mask": encoded((255, 255, 255), left=left),
        "inpaint_full_res": False,
        "denoising_strength": 0.9,
    }
    # The picture's encoding is drawn with whatever noise the job before has left.
    webui.make(prompt=PROMPT, **asked)
    plain = webui.make(prompt=PROMPT, **asked)
    assert not alike(webui.make(prompt=FULL, **asked), plain)
    assert alike(webui.make(prompt=PROMPT, **asked), plain)


def test_hires_fix_acts_in_the_pass_that_is_chosen(webui: WebUI) -> None:
    asked: dict[str, Any] = {
        "prompt": PROMPT,
        "enable_hr": True,
        "hr_scale": 2,
    }
    made = {
        passes: webui.make([{"passes": passes, "attn": 0.03}], denoising_strength=0.7, **asked)
        for passes in ("both passes", "first pass", "hires pass")
    }
    made["none"] = webui.make(denoising_strength=0.7, **asked)
    assert not any(alike(one, other) for one, other in itertools.combinations(made.values(), 2))


@pytest.mark.parametrize("prompt", ["a cat <edit:dog>", "a cat <boost:castle:2>", "a cat <edit:dog:-0.95>"])
def test_a_fault_stops_the_job_with_a_sentence(webui: WebUI, prompt: str) -> None:
    with pytest.raises(RefusedError, match=r"dog|castle"):
        webui.make(prompt=prompt)


def test_records_come_after_the_picture(webui: WebUI) -> None:
    made = webui.make([{"energies": True, "maps": True}], prompt=PROMPT)
    assert len(made.pictures) == 3
    assert alike(Made(made.pictures[:1], ()), webui.make([True], prompt=PROMPT))


def test_a_picture_is_made_again_from_its_text(webui: WebUI) -> None:
    edits = [{"text": 'a "big", dog: black\nand white', "strength": 0.5}]
    made = webui.make([{"attn": 0.02, "edits": edits}], prompt=f"{PROMPT} <edit:hat:0.3>")
    body: dict[str, Any] = {"infotext": made.infotexts[0], "width": 64, "height": 64}
    try:
        webui.make(infotext=webui.make(prompt=PROMPT).infotexts[0])
    except RefusedError as error:
        pytest.skip(f"this WebUI's API reads no text, its own neither: {error}")
    assert alike(webui.make(**body), made)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"prompt": f"{PROMPT} <bcu:1e30:0.02>"},
            r"a step was too large for this model\. attn is 1e\+30 \(published: 0.01\)",
        ),
        ({"prompt": PROMPT, "args": [{"attn": -0.1}]}, "attn is -0.1: it should be 0 or more"),
        (
            {"prompt": PROMPT, "args": [{"edits": [{"text": "dog", "norm": -1}]}]},
            "edit 1.norm is -1.0: it should be 0 or",
        ),
    ],
)
def test_steps_that_are_too_large_or_turned_round_are_refused(
    webui: WebUI, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RefusedError, match=sentence):
        webui.make(**asked)
    webui.make(prompt=PROMPT)


def test_negative_steps_are_for_whoever_says_so(webui: WebUI) -> None:
    (text,) = webui.make([{"attn": -0.1, "control": True}], prompt=PROMPT).infotexts
    assert 'EBCA: "<bcu:-0.1:0.02>"' in text


def test_the_script_is_described_with_a_label_for_every_argument(webui: WebUI) -> None:
    scripts = [each for each in webui.get("/sdapi/v1/script-info") if each["name"] == "ebca"]
    assert [each["is_img2img"] for each in scripts] == [False, True]
    for script in scripts:
        labels = [argument["label"] for argument in script["args"]]
        assert all(labels)
        assert len(set(labels)) == len(labels)


def test_the_page_is_told_the_words_and_the_faults(webui: WebUI) -> None:
    answer = webui.post("/ebca/check", {"prompt": "a cat and a cat in a shirt <boost:shirt:2>"})
    assert [word["name"] for word in answer["words"]] == ["cat#1", "cat#2", "shirt"]
    assert [word["boost"] for word in answer["words"]] == [None, None, 2.0]
    fault = webui.post("/ebca/check", {"prompt": "a cat <edit:dog>"})["errors"][0]
    assert (fault["start"], fault["end"]) == (6, 16)
    boosted = webui.post("/ebca/boost", {"prompt": "a cat", "word": "cat"})["prompt"]
    assert boosted == "a cat <boost:cat:2.5>"
    excited = webui.post("/ebca/boost", {"prompt": boosted, "word": "cat"})["prompt"]
    assert excited == "a cat <excite:cat>"
    assert webui.post("/ebca/boost", {"prompt": excited, "word": "cat"})["prompt"] == "a cat"
