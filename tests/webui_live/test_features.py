"""EBCA together with what else a running WebUI does to its denoiser and its attention, and the page's examples."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.webui_live.client import Made, WebUI, alike, encoded

PROMPT = "a cat wearing a shirt"
FULL = f"{PROMPT} <bcu:0.02:0.02> <edit:dog:0.6:from=0.3> <edit:hat:-0.3> <boost:shirt:2.5>"
LONG = "castle, " * 40
DOCS = Path(__file__).parents[2] / "docs" / "webui.md"


def acts(webui: WebUI, **asked: Any) -> Made:
    """The picture that FULL makes, which is another than the plain one; the plain one is not touched by it."""
    plain = webui.make(prompt=PROMPT, **asked)
    made = webui.make(prompt=FULL, **asked)
    assert not alike(made, plain)
    assert alike(webui.make(prompt=PROMPT, **asked), plain)
    return made


@pytest.mark.parametrize("padding", ["", "pad_cond_uncond", "pad_cond_uncond_v0"])
def test_sides_of_unequal_length_in_one_call_or_two(webui: WebUI, padding: str) -> None:
    made = []
    for batched in (True, False):
        values = {"pad_cond_uncond": False, "pad_cond_uncond_v0": False, "batch_cond_uncond": batched}
        with webui.settings(**{**values, **({padding: True} if padding else {})}):
            made.append(acts(webui, negative_prompt=LONG))
    assert alike(made[0], made[1], pixels_off=0.05)


@pytest.mark.parametrize(
    "values",
    [
        {"skip_early_cond": 0.5},
        {"s_min_uncond": 15.0, "s_min_uncond_all": True},
        {"token_merging_ratio": 0.5},
        {"hypertile_enable_unet": True},
        {"upcast_attn": True},
        {"CLIP_stop_at_last_layers": 2},
        {"emphasis": "No norm"},
        {"lora_functional": True},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_setting_of_the_host(webui: WebUI, values: dict[str, Any]) -> None:
    with webui.settings(**values):
        acts(webui)


@pytest.mark.parametrize(
    "optimisation",
    ["sdp - scaled dot product", "Doggettx", "sub-quadratic", "V1 - original v1", "InvokeAI", "None"],
)
def test_an_optimisation_of_the_host(webui: WebUI, optimisation: str) -> None:
    with webui.settings(cross_attention_optimization=optimisation):
        acts(webui)


@pytest.mark.parametrize(
    "sampler", ["Euler a", "Heun", "DPM++ 2M", "DPM++ SDE", "DDIM", "PLMS", "UniPC", "LCM", "Restart"]
)
def test_a_sampler(webui: WebUI, sampler: str) -> None:
    acts(webui, sampler_name=sampler, steps=4)


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat AND a shirt :0.5",
        "a [cat:dog:0.5] wearing a [shirt|hat]",
        "a (cat:1.3) BREAK a [shirt]",
        f"a cat, {LONG} a shirt",
    ],
    ids=["AND", "stages", "emphasis", "long"],
)
def test_a_prompt_of_parts_and_stages(webui: WebUI, prompt: str) -> None:
    plain = webui.make(prompt=prompt, batch_size=2)
    if not any(map(any, plain.pictures)):
        pytest.skip("without EBCA this WebUI makes a black picture of it")
    for directive in ("<bcu:0.03:0.03>", "<edit:[dog:hat:0.5]:0.6>", "<bcu:0.02:0> <boost:shirt:4>"):
        asked: dict[str, Any] = {"prompt": f"{prompt} {directive}", "batch_size": 2}
        if "boost:shirt" in directive and "[shirt|hat]" in prompt:
            asked["prompt"] = asked["prompt"].replace("boost:shirt", "boost:cat")
        made = webui.make(**asked)
        assert not alike(made, plain)
    assert alike(webui.make(prompt=prompt, batch_size=2), plain)


def test_hires_fix_with_another_sampler(webui: WebUI) -> None:
    acts(
        webui,
        enable_hr=True,
        hr_scale=1.5,
        hr_sampler_name="Heun",
        hr_second_pass_steps=2,
        denoising_strength=0.7,
    )


def test_a_lora_in_the_prompt_counts_for_the_edits_too(webui: WebUI) -> None:
    names = [each["name"] for each in webui.get("/sdapi/v1/loras")]
    if not names:
        pytest.skip("the WebUI has no LoRA")
    tag = f"<lora:{names[0]}:1>"
    plain = webui.make(prompt=f"{PROMPT} {tag}")
    made = webui.make(prompt=f"{FULL} {tag}")
    without = webui.make(prompt=FULL)
    assert not alike(made, plain)
    assert not alike(made, without)
    assert alike(webui.make(prompt=f"{FULL} {tag}"), made)
    assert alike(webui.make(prompt=FULL), without)
    with webui.settings(**webui.has_settings(lora_functional=True)):
        assert alike(webui.make(prompt=f"{FULL} {tag}"), made, pixels_off=0.05)


def test_the_plot_over_our_axes(webui: WebUI) -> None:
    axes = {"X": ("[EBCA] Edit 1 strength", "0.2, 0.9"), "Y": ("[EBCA] Edit 1 prompt", "dog, hat")}
    args = [{"attn": 0, "norm": 0, "edits": [{"text": "dog"}]}]
    made = webui.make(args, prompt=PROMPT, script_name="x/y/z plot", script_args=_plot(webui, axes))
    # The grid comes first, then the cells row by row.
    cells = [Made((picture,), ()) for picture in made.pictures[-4:]]
    wanted = [(strength, text) for text in ("dog", "hat") for strength in (0.2, 0.9)]
    for cell, infotext, (strength, text) in zip(cells, made.infotexts[-4:], wanted, strict=True):
        assert f"EBCA: <edit:{text}:{strength}>" in infotext.replace('"', "")
        alone = webui.make([{"attn": 0, "norm": 0, "edits": [{"text": text, "strength": strength}]}], prompt=PROMPT)
        assert alike(cell, Made(alone.pictures, ()), pixels_off=0.05)


def _plot(webui: WebUI, axes: dict[str, tuple[str, str]]) -> list[Any]:
    """The plot's arguments in the WebUI's own order: by axis a type and values, each cell a picture of its own."""
    scripts = [each for each in webui.get("/sdapi/v1/script-info") if each["name"] == "x/y/z plot"]
    arguments = next(each for each in scripts if not each["is_img2img"])["args"]
    given: dict[str, Any] = {"Include Sub Images": True}
    for axis in "XYZ":
        kind, values = axes.get(axis, ("Nothing", ""))
        types: list[str] = next(each["choices"] for each in arguments if each["label"] == f"{axis} type")
        given |= {f"{axis} type": types.index(kind), f"{axis} values": values}
    # The box beside a field of values has the field's label.
    chosen = [given.pop(each["label"], each["value"]) for each in arguments]
    return ["" if value is None else value for value in chosen]


def test_loopback_keeps_one_job_for_all_its_pictures(webui: WebUI) -> None:
    asked: dict[str, Any] = {
        "kind": "img2img",
        "init_images": [encoded((200, 90, 40))],
        "denoising_strength": 0.7,
        "script_name": "loopback",
        "script_args": [2, 0.5, "Linear", "None"],
    }
    acts(webui, **asked)


@pytest.mark.parametrize("inversion", ["fixed-point", "published"])
def test_a_picture_is_edited_from_its_inversion(webui: WebUI, inversion: str) -> None:
    asked: dict[str, Any] = {
        "kind": "img2img",
        "init_images": [encoded((200, 90, 40))],
        "denoising_strength": 0.6,
        "steps": 10,
    }
    form = {"attn": 0, "norm": 0, "photo": True, "inversion": inversion}
    edited = {**form, "edits": [{"text": "dog", "strength": 0.6}]}
    plain = webui.make([form], prompt=PROMPT, **asked)
    made = webui.make([edited], prompt=PROMPT, **asked)
    assert not alike(made, plain)
    assert alike(webui.make([edited], prompt=PROMPT, **asked), made)
    assert f"EBCA inversion: {inversion}" in made.infotexts[0]
    assert "Sampler: DDIM" in made.infotexts[0]
    masked = webui.make(
        [edited], prompt=PROMPT, mask=encoded((255, 255, 255), left=True), inpaint_full_res=False, **asked
    )
    assert not alike(masked, made)


def test_without_edits_the_inverted_picture_comes_back(webui: WebUI) -> None:
    """As near as the VAE gives it back, and whatever the seed."""
    # The steps of fewer are too large for weights of random values to be solved backwards.
    asked: dict[str, Any] = {"kind": "img2img", "init_images": [encoded((200, 90, 40))], "steps": 25, "prompt": PROMPT}
    form = [{"attn": 0, "norm": 0, "photo": True}]
    little = webui.make(form, denoising_strength=0.3, **asked)
    more = webui.make(form, denoising_strength=0.6, seed=8, **asked)
    noised = webui.make(denoising_strength=0.6, sampler_name="DDIM", **asked)
    assert difference(little, more) < 0.2 * difference(little, noised)


def difference(one: Made, other: Made) -> float:
    """Mean difference of two pictures' values."""
    pairs = list(zip(one.pictures[0], other.pictures[0], strict=True))
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def test_the_pages_example(webui: WebUI) -> None:
    example = re.search(r"```sh\n(curl .*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    command = example[1].replace("http://127.0.0.1:7860", webui.url)
    small = command.replace('"steps": 20', '"steps": 3').replace("512", "64")
    assert small != command
    answer = json.loads(subprocess.run(small, shell=True, capture_output=True, check=True, timeout=600).stdout)
    assert "EBCA: " in json.loads(answer["info"])["infotexts"][0]
