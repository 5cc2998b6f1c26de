"""EBCA beside what Forge and its relatives have built in; each test is skipped where the WebUI lacks it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.webui_live.client import RefusedError, WebUI, alike
from tests.webui_live.test_features import PROMPT, acts

INTEGRATED = [
    "FreeU Integrated",
    "SelfAttentionGuidance Integrated",
    "PerturbedAttentionGuidance Integrated",
    "Kohya HRFix Integrated",
    "MultiDiffusion Integrated",
    "HyperTile Integrated",
    "StyleAlign Integrated",
    "Never OOM Integrated",
    "DynamicThresholding (CFG-Fix) Integrated",
    "LatentModifier Integrated",
]


def enabled(webui: WebUI, name: str) -> dict[str, Any]:
    """The feature's own values, with its first box ticked."""
    wanted = name.lower().split(" integrated")[0]
    for script in webui.get("/sdapi/v1/script-info"):
        if script["is_alwayson"] and script["name"].lower().startswith(wanted):
            values = [each["value"] for each in script["args"]]
            return {script["name"]: {"args": [True, *values[1:]]}}
    pytest.skip(f"the WebUI has no {name}")


@pytest.mark.parametrize("name", INTEGRATED)
def test_a_built_in_feature(webui: WebUI, name: str) -> None:
    features = enabled(webui, name)
    if name.startswith("MultiDiffusion"):
        for feature in features.values():
            feature["args"][2:5] = 64, 64, 16
    try:
        webui.make(prompt=PROMPT, width=128, alwayson_scripts=features)
    except RefusedError as error:
        pytest.skip(f"the feature fails by itself at this size: {error}")
    acts(webui, width=128, alwayson_scripts=features)
    # Nothing of either stays.
    assert alike(webui.make(prompt=PROMPT), webui.make(prompt=PROMPT))


def test_subjects_move_the_latent(webui: WebUI) -> None:
    plain = webui.make(prompt=PROMPT)
    assert not alike(webui.make(prompt=f"{PROMPT} <excite:cat:scale=3000:refine=off>"), plain)
    assert alike(webui.make(prompt=PROMPT), plain)


def test_concepts_act(webui: WebUI) -> None:
    plain = webui.make(prompt=PROMPT)
    assert not alike(webui.make(prompt=f"{PROMPT} <concept:shirt:Color=4>"), plain)


def test_the_parts_of_an_and_keep_their_directives_in_any_order(webui: WebUI) -> None:
    one = webui.make(prompt="a cat AND a castle <bcu:0.05:0> <boost:cat:4>")
    other = webui.make(prompt="a castle AND a cat <bcu:0.05:0> <boost:cat:4>")
    assert alike(one, other, pixels_off=0.05)
    assert not alike(one, webui.make(prompt="a cat AND a castle <bcu:0.05:0> <boost:castle:4>"))


def test_without_guidance(webui: WebUI) -> None:
    acts(webui, cfg_scale=1)


def test_negative_prompts_of_other_lengths(webui: WebUI) -> None:
    acts(webui, negative_prompt="castle, " * 40)
    acts(webui, negative_prompt="castle, " * 100)
