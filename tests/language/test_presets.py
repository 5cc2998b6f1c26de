"""The published settings by name."""

from __future__ import annotations

import pytest

from lib_ebca.language.directives import parse, write
from lib_ebca.language.presets import PRESETS, PresetError, preset


def test_the_published_tasks_are_there() -> None:
    assert list(PRESETS) == [
        "multi-concept",
        "stylise",
        "cat-and-dog",
        "cat-to-dog",
        "horse-to-zebra",
        "faces",
        "inpaint",
    ]


@pytest.mark.parametrize("name", list(PRESETS))
def test_each_is_active_and_survives_being_written(name: str) -> None:
    found = preset(f" {name.upper()} ")
    assert found is PRESETS[name] and found.plan.active and found.prompt and found.source
    assert parse(write(found.plan)).plan == found.plan


PUBLISHED = {
    "multi-concept": "<bcu:0.01:0.02:schedule=reverse_step>",
    "stylise": "<edit:Water colors, Watercolor painting, Watercolor:1.1:from=0.2:attn=0.0004:norm=0.0004>",
    "cat-and-dog": "<excite:cat> <excite:dog>",
    "cat-to-dog": "<edit:dog:0.75:from=0.5:attn=0.0006:norm=0.0006> <edit:cat:-0.65:from=0.5:attn=0.0005:norm=0.0005>",
    "horse-to-zebra": "<edit:zebra:0.6:from=0.3:attn=0.0005:norm=0.0005> "
    "<edit:brown horse:-0.5:from=0.3:attn=0.0004:norm=0.0004>",
    "faces": "<edit:a goat, a photography of a goat:0.6:from=0.35:attn=0.001:norm=0.001:gfrom=0.3>",
    "inpaint": "<bcu:0.025:0.025>",
}


def test_every_number_is_the_published_one() -> None:
    assert {name: found.plan for name, found in PRESETS.items()} == {
        name: parse(directives).plan for name, directives in PUBLISHED.items()
    }
    # The authors' editorial contexts go on from where the step before left them.
    assert [name for name, found in PRESETS.items() if found.drift] == [
        "stylise",
        "cat-to-dog",
        "horse-to-zebra",
        "faces",
    ]


def test_cat_to_dog_is_the_published_setting() -> None:
    dog, cat = preset("cat-to-dog").plan.edits
    assert (dog.text, dog.strength, dog.start, dog.attn, dog.norm) == ("dog", 0.75, 0.5, 6e-4, 6e-4)
    assert (cat.text, cat.strength, cat.start, cat.attn, cat.norm) == ("cat", -0.65, 0.5, 5e-4, 5e-4)


def test_a_preset_of_another_task_is_refused() -> None:
    assert preset("stylise", "img2img") is preset("stylise", "txt2img") is preset("stylise")
    for name, task in (("stylise", "edit"), ("faces", "img2img"), ("inpaint", "txt2img"), ("cat-to-dog", "inpaint")):
        with pytest.raises(PresetError, match=f"'{name}', which is for `ebca .*`: for {task} it should be one of "):
            preset(name, task)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(PresetError, match="'cat2dog': it should be one of multi-concept, stylise"):
        preset("cat2dog")


def test_cat_and_dog_asks_for_the_published_tokens() -> None:
    """Tokens 2 and 5: each word of this prompt is one, and the start of text is token 0."""
    found = preset("cat-and-dog")
    assert [part.word for part in found.plan.excite] == [found.prompt.split()[token - 1] for token in (2, 5)]
    assert found.plan == parse("<excite:cat> <excite:dog>").plan
