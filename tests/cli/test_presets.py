"""`ebca presets`."""

from __future__ import annotations

import json

from lib_ebca.language.directives import parse, write
from lib_ebca.language.plan import Plan
from lib_ebca.language.presets import PRESETS
from tests.cli.conftest import Ebca


def test_the_list_has_directives_source_and_command(ebca: Ebca) -> None:
    text = ebca("presets").stdout
    for preset in PRESETS.values():
        assert f"{preset.name}\n  {write(preset.plan)}" in text and preset.source in text
    assert "ebca edit PHOTO --caption 'a cat' --preset cat-to-dog" in text


def test_json(ebca: Ebca) -> None:
    listed = json.loads(ebca("presets", "--json").stdout)
    assert [each["name"] for each in listed] == list(PRESETS)
    for each in listed:
        assert Plan.from_dict(each["plan"]) == parse(each["directives"]).plan == PRESETS[each["name"]].plan


def test_a_preset_draws_a_prompt(draw: Ebca) -> None:
    line = json.loads(draw("a cat", "--preset", "stylise", "--edit", "dog:0.2", "--json").stdout)
    wanted = PRESETS["stylise"].plan.merged(parse("<edit:dog:0.2>").plan)
    assert Plan.from_dict(line["plan"]) == wanted
    refused = draw("a cat", "--preset", "cat-to-dog")
    assert refused.exit_code == 2 and "which is for `ebca edit`: for txt2img it should be one of" in refused.stderr
    refused = draw("a cat", "--preset", "nothing")
    assert refused.exit_code == 2 and "preset is 'nothing': it should be one of" in refused.stderr
