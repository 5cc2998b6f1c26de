"""Arguments, axes and infotext: what goes into a job and what is written about it."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.webui.asked import FULL, close


def test_10_xyz_axes_over_a_shared_dict(host: Any) -> None:
    options: list[Any] = []

    def axis(label: str, kind: Any, apply: Any, **more: Any) -> Any:
        return SimpleNamespace(label=label, apply=apply, type=kind, **more)

    grid = SimpleNamespace(axis_options=options, AxisOption=axis)
    script_class = type("Grid", (), {"__module__": "xyz_grid.py"})
    host.scripts.scripts_data = [SimpleNamespace(script_class=script_class, module=grid)]
    for _ in range(2):
        for callback in host.callbacks["before_ui"]:
            callback()
    labels = [option.label for option in options]
    assert len(labels) == len(set(labels)) > 50
    strength = next(option for option in options if option.label == "[EBCA] Edit 1 strength")
    base = host.job([{"attn": 0, "norm": 0, "edits": [{"text": "dog"}]}], prompt="a cat")
    cells = []
    for value in (0.3, 0.9, 0.3):
        cell = copy.copy(base)
        strength.apply(cell, value, [0.3, 0.9])
        result = host.processing.process_images(cell)
        assert result.infotexts[0]["EBCA"] == f"<edit:dog:{value}>"
        cells.append(result.images[0])
    assert torch.equal(cells[0], cells[2])
    assert not close(cells[0], cells[1])
    off = next(option for option in options if option.label == "[EBCA] Enabled")
    cell = copy.copy(base)
    off.apply(cell, "False", ["False"])
    result = host.processing.process_images(cell)
    assert "EBCA" not in result.infotexts[0]
    assert torch.equal(result.images[0], host.make(prompt="a cat")[0])


@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_12_the_api_with_any_number_of_arguments(host: Any, count: int) -> None:
    from lib_ebca.webui.form import Form

    args = [True, 0.05, 0.1, 0.0, 1.0, *Form().to_args()[5:], *[1] * 200][:count]
    result = host.processing.process_images(host.job(args, prompt="a cat"))
    wanted = {0: None, 1: "<bcu:0.01:0.02>", 3: "<bcu:0.05:0.1>", 200: "<bcu:0.05:0.1>"}[count]
    assert result.infotexts[0].get("EBCA") == wanted


def test_12_the_api_with_names(host: Any) -> None:
    named = [{"attn": 0.05, "norm": 0.0, "boosts": "cat:2", "edits": [{"text": "dog", "strength": 0.4, "from": 0.5}]}]
    result = host.processing.process_images(host.job(named, prompt="a cat"))
    assert result.infotexts[0]["EBCA"] == "<bcu:0.05:0> <edit:dog:0.4:from=0.5> <boost:cat:2>"
    with pytest.raises(ValueError, match="strenght"):
        host.make([{"edits": [{"text": "dog", "strenght": 1}]}], prompt="a cat")
    with pytest.raises(ValueError, match="gamma"):
        host.make([{"gamma": 1}], prompt="a cat")


@pytest.mark.parametrize(
    "text",
    ["a dog, a cat", 'say: "meow"', "two\nlines", "(red:1.3) scarf", "犬と猫", r"a \: b", "x > y", "back\\slash"],
)
def test_18_infotext_there_and_back(host: Any, text: str) -> None:
    from lib_ebca.webui import infotext
    from lib_ebca.webui.form import FIELDS, Form

    named = [
        {"attn": 0.03, "boosts": "cat:2", "edits": [{"text": text, "strength": -0.25, "until": 0.5, "gfrom": 0.2}]}
    ]
    result = host.processing.process_images(host.job(named, prompt="a cat <edit:sofa:0.5>"))
    form = infotext.read(result.infotexts[0])
    assert form.enabled
    again = host.processing.process_images(host.job(form.to_args(), prompt="a cat <edit:sofa:0.5>"))
    assert torch.equal(again.images[0], result.images[0])
    assert again.infotexts == result.infotexts
    assert form.edits[0].text == text
    assert infotext.read({"Prompt": "a cat"}) == Form()
    assert infotext.pasted("enabled")({}) is False
    pasted = [infotext.pasted(name)(result.infotexts[0]) for name in FIELDS]
    assert pasted == ["" if each is None else each for each in form.to_args()]
    assert Form.from_args(pasted) == form


def test_18_a_picture_made_with_directives_alone_leaves_the_accordion_off(host: Any) -> None:
    from lib_ebca.webui import infotext
    from lib_ebca.webui.form import Form

    result = host.processing.process_images(host.job(prompt=FULL))
    assert result.infotexts[0]["Prompt"] == FULL
    assert infotext.read(result.infotexts[0]) == Form()
