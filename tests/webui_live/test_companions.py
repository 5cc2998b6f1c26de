"""Neighbours that change the network's call: ControlNets, an IP-Adapter, prompts by region, LoRAs, stored bits.

With what ``python -m tests.webui_live.companions`` writes. Each test is skipped where the WebUI lacks the neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.webui_live.client import Made, RefusedError, WebUI, alike, encoded
from tests.webui_live.test_models import OTHER_SD1, SD1, SDXL
from tests.webui_live.test_neighbours import apart, installed

PROMPT = "a cat wearing a shirt"
UPDATE = "<bcu:0.02:0.02> <boost:shirt:2.5>"
EDIT = "<edit:dog:0.6:from=0.3> <edit:hat:-0.3>"
SUBJECTS = "<excite:cat:scale=3000:refine=off>"
PLANS = pytest.mark.parametrize(
    "plan", [UPDATE, EDIT, f"{UPDATE} {EDIT}", SUBJECTS], ids=["update", "edit", "both", "subjects"]
)
OFF = "<bcu:0:0>"


@pytest.fixture(autouse=True)
def sd1(webui: WebUI) -> Iterator[None]:
    # The approximate decoder of SDXL's previews would be fetched from the internet.
    with webui.settings(live_previews_enable=False), webui.model(SD1):
        yield


def acts_beside(webui: WebUI, plan: str, prompt: str = PROMPT, **asked: Any) -> Made:
    """The picture that a plan makes beside a neighbour.

    It is another than the neighbour's alone and than the plan's alone, the same when it is made again, and afterwards
    either of the plain pictures is what it was.
    """
    kept = {name: value for name, value in asked.items() if name != "alwayson_scripts"}
    alone = webui.make(prompt=prompt, **kept)
    plain = webui.make(prompt=prompt, **asked)
    made = webui.make(prompt=f"{prompt} {plan}", **asked)
    without = webui.make(prompt=f"{prompt} {plan}", **kept)
    print(f"{plan}: beside it {apart(made, plain):.2f}, alone {apart(without, alone):.2f}, ", end="")
    print(f"the neighbour {apart(plain, alone):.2f}")
    if "alwayson_scripts" in asked:
        # What a feature of the host fails at it tells its console alone.
        assert apart(plain, alone) > 0.5
        assert apart(made, without) > 0.5
    assert apart(made, plain) > 0.5
    assert alike(webui.make(prompt=f"{prompt} {plan}", **asked), made)
    for same in (f"{prompt} {OFF}", prompt):
        again = webui.make(prompt=same, **asked)
        print("the same bytes" if again.pictures == plain.pictures else f"{apart(again, plain):.4f} apart", f"({same})")
        assert alike(again, plain)
    assert alike(webui.make(prompt=prompt, **kept), alone)
    return made


def unit(webui: WebUI, model: str, color: tuple[int, int, int] = (200, 90, 40), **values: Any) -> dict[str, Any]:
    """A unit of the host's ControlNet."""
    installed(webui, "controlnet")
    found = [each for each in webui.get("/controlnet/model_list")["model_list"] if each.startswith(model)]
    if not found:
        pytest.skip(f"the WebUI has no {model}")
    picture = encoded(color, left=True)
    return {"enabled": True, "module": "None", "model": found[0], "weight": 1.0, "image": picture, **values}


def units(*each: dict[str, Any]) -> dict[str, Any]:
    return {"ControlNet": {"args": list(each)}}


@PLANS
@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_controlnet(webui: WebUI, plan: str, batch_size: int) -> None:
    acts_beside(webui, plan, batch_size=batch_size, alwayson_scripts=units(unit(webui, "tiny-controlnet")))


@PLANS
def test_several_controlnets(webui: WebUI, plan: str) -> None:
    one, other = unit(webui, "tiny-controlnet"), unit(webui, "tiny-controlnet", (20, 60, 220), weight=0.5)
    made = acts_beside(webui, plan, alwayson_scripts=units(one, other))
    assert not alike(webui.make(prompt=f"{PROMPT} {plan}", alwayson_scripts=units(one)), made)


@pytest.mark.parametrize(
    "values",
    [
        {"guidance_start": 0.4, "guidance_end": 0.8},
        {"control_mode": "ControlNet is more important"},
        {"control_mode": "My prompt is more important"},
    ],
    ids=["part", "control", "prompt"],
)
def test_a_controlnet_for_a_part_of_the_pass_or_on_one_side(webui: WebUI, values: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"steps": 6, "alwayson_scripts": units(unit(webui, "tiny-controlnet", **values))}
    acts_beside(webui, f"{UPDATE} {EDIT}", **asked)


@PLANS
def test_a_controlnet_with_and(webui: WebUI, plan: str) -> None:
    acts_beside(
        webui, plan, "a castle AND a cat wearing a shirt", alwayson_scripts=units(unit(webui, "tiny-controlnet"))
    )


def test_a_controlnet_with_sides_of_other_lengths_without_guidance_and_with_hires_fix(webui: WebUI) -> None:
    features = units(unit(webui, "tiny-controlnet"))
    for asked in (
        {"negative_prompt": "castle, " * 40},
        {"cfg_scale": 1},
        {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.7},
    ):
        acts_beside(webui, f"{UPDATE} {EDIT}", alwayson_scripts=features, **asked)


def adapted(webui: WebUI, **values: Any) -> dict[str, Any]:
    return unit(webui, "tiny-ip-adapter", **{"module": "CLIP-ViT-H (IPAdapter)", "weight": 0.8, **values})


@PLANS
@pytest.mark.parametrize("batch_size", [1, 2])
def test_an_ip_adapter(webui: WebUI, plan: str, batch_size: int) -> None:
    acts_beside(webui, plan, batch_size=batch_size, alwayson_scripts=units(adapted(webui)))


def test_an_ip_adapter_with_and_and_beside_a_controlnet(webui: WebUI) -> None:
    acts_beside(webui, f"{UPDATE} {EDIT}", "a castle AND a cat wearing a shirt", alwayson_scripts=units(adapted(webui)))
    acts_beside(webui, f"{UPDATE} {EDIT}", alwayson_scripts=units(adapted(webui), unit(webui, "tiny-controlnet")))
    acts_beside(webui, f"{UPDATE} {EDIT}", cfg_scale=1, alwayson_scripts=units(adapted(webui)))
    acts_beside(webui, f"{UPDATE} {EDIT}", negative_prompt="castle, " * 40, alwayson_scripts=units(adapted(webui)))


def test_prompts_by_region_are_the_hosts_alone(webui: WebUI) -> None:
    """forge-couple gives the layers rows of its own: the picture is its own, whatever the plan."""
    name = installed(webui, "forge couple")
    found = next(each for each in webui.get("/sdapi/v1/script-info") if each["name"] == name and not each["is_img2img"])
    values = [each["value"] for each in found["args"]]
    labels = [each["label"] for each in found["args"]]
    values[0] = True
    print(dict(zip(labels, values, strict=True)))
    features = {name: {"args": values}}
    prompt = "a cat wearing a shirt\na castle"
    alone = webui.make(prompt=prompt)
    plain = webui.make(prompt=prompt, alwayson_scripts=features)
    assert not alike(plain, alone)
    for plan in (UPDATE, EDIT):
        made = webui.make(prompt=f"{prompt} {plan}", alwayson_scripts=features)
        print(plan, "the same bytes" if made.pictures == plain.pictures else f"{apart(made, plain):.4f} apart")
        assert alike(made, plain)
    assert alike(webui.make(prompt=prompt), alone)


@PLANS
def test_sdxl(webui: WebUI, plan: str) -> None:
    # SDXL's layers are seventy here, and random: a smaller step keeps the picture finite.
    plan = plan.replace("0.02:0.02", "0.002:0.004")
    with webui.model(SDXL):
        acts_beside(webui, plan)
        asked: dict[str, Any] = {"kind": "img2img", "init_images": [encoded((90, 120, 200))], "denoising_strength": 0.7}
        webui.make(prompt=PROMPT, **asked)
        acts_beside(webui, plan, **asked)
        acts_beside(webui, plan, batch_size=2, negative_prompt="castle, " * 40)


PACKED = ["tiny-nf4", "tiny-gguf"]
"""Names of ``tiny-sd15`` with the network's matrices packed: made with bitsandbytes and with gguf, where these are."""


@PLANS
@pytest.mark.parametrize("model", PACKED)
def test_a_checkpoint_of_packed_weights(webui: WebUI, model: str, plan: str) -> None:
    whole = webui.make(prompt=PROMPT)
    with webui.model(model):
        assert not alike(webui.make(prompt=PROMPT), whole)
        acts_beside(webui, plan)
    assert alike(webui.make(prompt=PROMPT), whole)


def lora_there(webui: WebUI) -> None:
    """Skip where nobody laid the companions' LoRA down."""
    if not [each for each in webui.get("/sdapi/v1/loras") if each["name"] == "tiny-lora"]:
        pytest.skip("the WebUI has no tiny-lora")


@contextmanager
def stored(webui: WebUI, bits: str, model: str = OTHER_SD1) -> Iterator[None]:
    """Another checkpoint, its network's weights stored in another way; the first one comes back."""
    with webui.settings(forge_unet_storage_dtype=bits), webui.model(model):
        try:
            webui.make(prompt=PROMPT)
        except RefusedError as error:
            pytest.skip(f"the WebUI itself fails with {bits}: {error}")
        yield
    with webui.model(model):
        webui.make(prompt=PROMPT, steps=1)


@pytest.mark.parametrize("bits", ["float8-e4m3fn", "float8-e5m2", "bnb-nf4", "bnb-fp4"])
@PLANS
def test_stored_in_few_bits(webui: WebUI, bits: str, plan: str) -> None:
    with webui.model(OTHER_SD1):
        whole = webui.make(prompt=PROMPT)
    with stored(webui, bits):
        assert not alike(webui.make(prompt=PROMPT), whole)
        acts_beside(webui, plan)


@pytest.mark.parametrize(
    "bits",
    ["Automatic", "Automatic (fp16 LoRA)", "float8-e4m3fn", "float8-e4m3fn (fp16 LoRA)", "bnb-nf4 (fp16 LoRA)"],
)
@PLANS
def test_a_lora_merged_or_on_the_fly(webui: WebUI, bits: str, plan: str) -> None:
    lora_there(webui)
    tag = "<lora:tiny-lora:0.5>"
    with stored(webui, bits):
        alone = webui.make(prompt=PROMPT)
        made = acts_beside(webui, plan, f"{PROMPT} {tag}")
        assert not alike(webui.make(prompt=f"{PROMPT} {tag}"), alone)
        assert not alike(webui.make(prompt=f"{PROMPT} {plan}"), made)
        assert alike(webui.make(prompt=PROMPT), alone)


@PLANS
def test_a_lora_on_the_fly_makes_the_picture_that_it_makes_merged(webui: WebUI, plan: str) -> None:
    """With weights stored as they are the two differ by rounding alone, for subjects through the gradients too.

    A host that merges into such weights whatever it is asked, as Forge does by a line of its ``sd_forge_lora``, has to
    be told otherwise: as it is, this holds of itself.
    """
    lora_there(webui)
    prompts = [f"{PROMPT} <lora:tiny-lora:0.5>", f"{PROMPT} {plan} <lora:tiny-lora:0.5>"]
    made = {}
    for bits in ("Automatic", "Automatic (fp16 LoRA)"):
        with stored(webui, bits):
            made[bits] = [webui.make(prompt=prompt) for prompt in prompts]
    merged, added = made.values()
    assert apart(*merged) > 0.5
    for one, other in zip(merged, added, strict=True):
        print("the same bytes" if one.pictures == other.pictures else f"{apart(one, other):.4f} apart")
        assert alike(one, other)


def detailed(prompt: str = "", scripts: str = "ebca") -> dict[str, Any]:
    """What a job with ADetailer asks, whose pass has the job's prompt or one of its own; and its list of scripts."""
    unit = {"ad_model": "always.pt", "ad_mask_k": 1, "ad_denoising_strength": 0.7, "ad_prompt": prompt}
    return {
        "alwayson_scripts": {"ADetailer": {"args": [True, False, unit]}},
        "override_settings": {"ad_script_names": scripts},
    }


def edges(made: Made) -> list[bytes]:
    """The first four rows of each picture of 64x64, which a box in the middle leaves alone, with its mask's blur."""
    return [each[: 4 * 64 * 3] for each in made.pictures]


@PLANS
@pytest.mark.parametrize("batch_size", [1, 2])
def test_adetailer(webui: WebUI, plan: str, batch_size: int) -> None:
    """With a detector ``always.pt`` that finds one thing in the middle of every picture."""
    installed(webui, "adetailer")
    size: dict[str, Any] = {"batch_size": batch_size}
    acts_beside(webui, plan, **size, **detailed())
    plain = webui.make(prompt=PROMPT, **size, **detailed())
    of_its_own = f"{PROMPT} {plan}"
    made = webui.make(prompt=PROMPT, **size, **detailed(of_its_own))
    print(f"in its pass alone: {apart(made, plain):.2f}")
    assert not alike(made, plain)
    assert edges(made) == edges(plain)
    assert alike(webui.make(prompt=PROMPT, **size, **detailed(of_its_own)), made)
    # A plan for the job, and none for ADetailer's pass.
    first = webui.make(prompt=f"{PROMPT} {plan}", **size, **detailed(PROMPT))
    both = webui.make(prompt=f"{PROMPT} {plan}", **size, **detailed())
    assert edges(first) == edges(both) != edges(plain)
    assert not alike(first, both)
    # Where EBCA is not among ADetailer's scripts, nothing of a plan is in its pass, nor are the directives' words.
    without = "dynamic_prompting"
    assert alike(webui.make(prompt=PROMPT, **size, **detailed(of_its_own, without)), plain)
    assert alike(webui.make(prompt=f"{PROMPT} {plan}", **size, **detailed("", without)), first)
    assert webui.make(prompt=PROMPT, **size, **detailed()).pictures == plain.pictures
