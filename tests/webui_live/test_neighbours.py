"""Other people's extensions in the same WebUI; each test is skipped where its extension is not installed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.webui_live.client import Made, RefusedError, WebUI, alike, encoded

PROMPT = "a cat wearing a shirt"
FULL = f"{PROMPT} <bcu:0.02:0.02> <edit:dog:0.6:from=0.3> <edit:hat:-0.3> <boost:shirt:2.5>"


def installed(webui: WebUI, name: str) -> str:
    """The full name of a script that begins with ``name``."""
    found = [each["name"] for each in webui.get("/sdapi/v1/script-info") if each["name"].startswith(name)]
    if not found:
        pytest.skip(f"the WebUI has no {name}")
    return str(found[0])


def test_dynamic_prompts_expand_our_directives_first(webui: WebUI) -> None:
    installed(webui, "dynamic prompts")
    asked: dict[str, Any] = {"prompt": "a {cat|castle} <edit:{dog|hat|sofa}:0.6> <bcu:0.02:0.02>", "n_iter": 6}
    made = webui.make(**asked)
    assert len(made.pictures) == 6
    applied = []
    for picture, infotext in zip(made.pictures, made.infotexts, strict=True):
        prompt, seed = infotext.split("\n", 1)[0], int(infotext.split("Seed: ")[1].split(",")[0])
        assert "{" not in prompt
        applied.append(prompt.split("<edit:")[1].split(":")[0])
        assert f"<edit:{applied[-1]}:0.6>" in infotext.split("EBCA: ")[1]
        alone = webui.make(prompt=prompt, seed=seed)
        assert alike(Made((picture,), ()), Made(alone.pictures, ()), pixels_off=0.05)
    assert len(set(applied)) > 1


@pytest.mark.parametrize("preprocessor", ["reference_only", "reference_adain"])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_controlnet_reference(webui: WebUI, preprocessor: str, batch_size: int) -> None:
    installed(webui, "controlnet")
    unit = {"enabled": True, "module": preprocessor, "model": "None", "weight": 1.0, "image": encoded((200, 90, 40))}
    asked: dict[str, Any] = {"alwayson_scripts": {"ControlNet": {"args": [unit]}}, "batch_size": batch_size}
    before = webui.make(prompt=PROMPT)
    plain = webui.make(prompt=PROMPT, **asked)
    if alike(Made(plain.pictures[:1], ()), before):
        pytest.skip("this WebUI's preprocessor does nothing to a picture of this size")
    made = webui.make(prompt=FULL, **asked)
    assert not alike(made, plain)
    assert alike(webui.make(prompt=FULL, **asked), made)
    assert alike(webui.make(prompt=PROMPT), before)


def apart(one: Made, other: Made) -> float:
    """The mean difference of the first pictures, in levels of 255."""
    a, b = one.pictures[0], other.pictures[0]
    return sum(abs(x - y) for x, y in zip(a, b, strict=True)) / len(a)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_perturbed_attention_guidance(webui: WebUI, batch_size: int) -> None:
    """Of sd-webui-incantations, which asks the network once more in each step: EBCA acts as long and as much."""
    installed(webui, "incantations")
    (found,) = [
        script["args"]
        for script in webui.get("/sdapi/v1/script-info")
        if script["name"] == "incantations" and not script["is_img2img"]
    ]
    values: list[Any] = [each["value"] for each in found]
    scale = [each["label"] for each in found].index("PAG Scale")
    values[scale - 1 : scale + 1] = [True, 3.0]
    asked: dict[str, Any] = {"alwayson_scripts": {"Incantations": {"args": values}}, "batch_size": batch_size}
    late = f"{PROMPT} <edit:dog:0.6:from=0.7>"
    before = webui.make(prompt=PROMPT, steps=6)
    plain = webui.make(prompt=PROMPT, steps=6, **asked)
    assert not alike(
        Made(plain.pictures[-1:], ()), Made(webui.make(prompt=PROMPT, steps=6, seed=6 + batch_size).pictures, ())
    )
    made = webui.make(prompt=FULL, steps=6, **asked)
    print(f"beside it {apart(made, plain):.2f}, alone {apart(webui.make(prompt=FULL, steps=6), before):.2f}")
    assert not alike(made, plain)
    assert not alike(webui.make(prompt=late, steps=6, **asked), plain)
    assert alike(webui.make(prompt=FULL, steps=6, **asked), made)
    assert alike(webui.make(prompt=PROMPT, steps=6), before)


def test_adetailer_with_and_without_leave(webui: WebUI) -> None:
    """With a detector ``always.pt`` that finds something in every picture."""
    installed(webui, "adetailer")
    unit = {"ad_model": "always.pt", "ad_mask_k": 1, "ad_denoising_strength": 0.7}
    args: list[Any] = [True, False, unit]
    asked: dict[str, Any] = {"alwayson_scripts": {"ADetailer": {"args": args}}}
    named = "ad_script_names"
    scripts = [each for each in webui.options(named)[named].split(",") if each.strip() != "ebca"]
    before = webui.make(prompt=PROMPT)
    made = {}
    for leave in (False, True):
        with webui.settings(**{named: ",".join([*scripts, *(["ebca"] if leave else [])])}):
            plain = webui.make(prompt=PROMPT, **asked)
            if alike(plain, before):
                pytest.skip("ADetailer found nothing")
            made[leave] = webui.make(prompt=FULL, **asked)
            assert not alike(made[leave], plain)
            assert alike(webui.make(prompt=FULL, **asked), made[leave])
            # A prompt of its own: directives act in its pass alone, or not at all.
            unit["ad_prompt"] = f"{PROMPT} <edit:dog:0.9>"
            alone = webui.make(prompt=PROMPT, **asked)
            unit.pop("ad_prompt")
            assert alike(alone, plain) is not leave
    assert not alike(made[False], made[True])
    assert alike(webui.make(prompt=PROMPT), before)


def test_prompt_fusion(webui: WebUI) -> None:
    """Its prompts change at every step: the update and edits act, and nothing is left."""
    if not webui.has_settings(prompt_fusion_enabled=True):
        pytest.skip("the WebUI has no prompt fusion")
    fused = "a [cat:castle:0,5] wearing a shirt"
    steps: dict[str, Any] = {"steps": 6}
    before = webui.make(prompt=PROMPT, **steps)
    plain = webui.make(prompt=fused, **steps)
    assert not alike(plain, before)
    for directives in (
        "<bcu:0.02:0.02>",
        "<edit:dog:0.6:from=0.3> <edit:hat:-0.3>",
        "<bcu:0.02:0.02> <boost:shirt:2.5>",
    ):
        made = webui.make(prompt=f"{fused} {directives}", **steps)
        assert not alike(made, plain)
        assert alike(webui.make(prompt=f"{fused} {directives}", **steps), made)
    assert alike(webui.make(prompt=fused, **steps), plain)
    assert alike(webui.make(prompt=PROMPT, **steps), before)


@pytest.mark.parametrize("args", [5, "abc", {"attn": 0.1}, None])
def test_arguments_that_are_no_list_are_an_error(webui: WebUI, args: Any) -> None:
    before = webui.make(prompt=PROMPT)
    with pytest.raises(RefusedError) as caught:
        webui.post("/sdapi/v1/txt2img", {"prompt": PROMPT, "alwayson_scripts": {"EBCA": {"args": args}}})
    print(args, caught.value)
    assert alike(webui.make(prompt=PROMPT), before)


def test_a_style_brings_its_directives(webui: WebUI) -> None:
    """A style "with a dog" whose prompt is ``{prompt} <edit:dog:0.6>``."""
    if "with a dog" not in [each["name"] for each in webui.get("/sdapi/v1/prompt-styles")]:
        pytest.skip('the WebUI has no style "with a dog"')
    made = webui.make(prompt=PROMPT, styles=["with a dog"])
    assert alike(made, webui.make(prompt=f"{PROMPT} <edit:dog:0.6>"))
    assert not alike(made, webui.make(prompt=PROMPT))
    assert "EBCA: <edit:dog:0.6>" in made.infotexts[0].replace('"', "")


def test_a_hypernetwork_and_a_plan_act_together(webui: WebUI) -> None:
    names = [each["name"] for each in webui.get("/sdapi/v1/hypernetworks")]
    if not names:
        pytest.skip("the WebUI has no hypernetwork")
    tag = f"<hypernet:{names[0]}:1>"
    before = webui.make(prompt=PROMPT)
    plain = webui.make(prompt=f"{PROMPT} {tag}")
    made = webui.make(prompt=f"{FULL} {tag}")
    without = webui.make(prompt=FULL)
    assert not alike(plain, before)
    assert not alike(made, plain)
    assert not alike(made, without)
    assert alike(webui.make(prompt=f"{FULL} {tag}"), made)
    assert alike(webui.make(prompt=PROMPT), before)


def test_a_batch_of_four_plans_is_four_pictures(webui: WebUI) -> None:
    """The WebUI's own matrix of prompts makes a batch of different prompts: each has the plan of its own."""
    update, edit = "<bcu:0.02:0.02>", "<edit:dog:0.6>"
    matrix: dict[str, Any] = {"script_name": "prompt matrix", "script_args": [False, False, "positive", "space", 0]}
    made = webui.make(prompt=f"{PROMPT}|{update}|{edit}", batch_size=4, **matrix)
    wanted = [PROMPT, f"{PROMPT} {update}", f"{PROMPT} {edit}", f"{PROMPT} {update} {edit}"]
    assert [text.split("\n", 1)[0] for text in made.infotexts[-4:]] == wanted
    for picture, prompt in zip(made.pictures[-4:], wanted, strict=True):
        assert alike(Made((picture,), ()), Made(webui.make(prompt=prompt).pictures, ()), pixels_off=0.05)


def test_directives_of_the_hires_prompt_alone_are_in_the_pictures_text(webui: WebUI) -> None:
    asked: dict[str, Any] = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.7}
    plain = webui.make(prompt=PROMPT, **asked)
    made = webui.make(prompt=PROMPT, hr_prompt=f"{PROMPT} <edit:dog:0.6>", **asked)
    assert not alike(made, plain)
    assert f"Hires prompt: {PROMPT} <edit:dog:0.6>" in made.infotexts[0].replace('"', "")
