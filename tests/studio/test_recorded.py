"""A picture's text comes from anywhere: whatever stands in its fields is a recipe or one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib_ebca.studio import infotext, recipe, request, task
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.infotext import Infotext
from lib_ebca.studio.recipe import Lora, Settings
from lib_ebca.studio.settings import checked
from lib_ebca.studio.trust import refuse_unasked

FIELDS = {"Steps": "2", "CFG scale": "7", "Seed": "1", "Size": "32x32", "Version": "EBCA 0.1.0"}
HOSTILE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["²x²", "1e300", "nan", "-1", "0x0", "9" * 5000, "1/1000000", "meta", "~x/y", "\ud800", "", "٣"]),
    st.integers(-(10**30), 10**30).map(str),
    st.floats().map(repr),
)
NAMES = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Clip skip", "Version", "Denoising strength",
    *(f"EBCA{n}" for n in ("", " model", " dtype", " device", " batch", " drift", " lora 1", " lora ²", " prompt",
      " negative", " task", " photo", " fit", " box", " mask", " inversion", " jumps", " paste-back", " feather")),
)  # fmt: skip


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(NAMES), HOSTILE), HOSTILE)
def test_any_fields_give_a_recipe_or_a_sentence(fields: dict[str, str], prompt: str) -> None:
    info = Infotext(prompt, "", {**FIELDS, **fields})
    lines = infotext.write(info)
    try:
        made, _ = recipe.from_text(lines)
        checked(made.settings)
        request.wanted([], None, made)
        request.repeated(made)
        task.from_text(lines, "inpaint")
    except (UserError, ValueError) as error:
        assert isinstance(error, UserError) or type(error).__module__.startswith("lib_ebca.")
        assert str(error)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Size", "²x²"),
        ("Size", "9" * 5000 + "x8"),
        ("Size", "0x8"),
        ("Steps", "²"),
        ("Steps", "9" * 5000),
        ("CFG scale", "nan"),
        ("CFG scale", "1e999"),
        ("EBCA batch", "²/³"),
        ("EBCA batch", "1/1000000"),
        ("EBCA batch", "3/2"),
        ("EBCA", "hello"),
        ("EBCA", "<bcu:0.01:0.02> and more"),
        ("EBCA model", "\ud800"),
    ],
)
def test_a_field_that_cannot_be_so_is_named(field: str, value: str) -> None:
    text = infotext.write(Infotext("a cat", "", {**FIELDS, field: json.loads(json.dumps(value))}))
    if "\ud800" in value:
        text = text.replace("\ud800", '"\\ud800"')
    with pytest.raises(UserError, match=f"the picture's field {field} "):
        recipe.from_text(text)


@pytest.mark.parametrize(
    "chosen",
    [
        Settings(steps=100_000_000),
        Settings(steps=1001),
        Settings(width=1_000_000, height=1_000_000),
        Settings(guidance=1e300),
        Settings(guidance=1e30),
        Settings(device="meta"),
        Settings(device="cuda:"),
    ],
)
def test_settings_beyond_reason_are_refused_before_anything_is_loaded(chosen: Settings) -> None:
    with pytest.raises(UserError, match="--"):
        checked(chosen)


def test_what_only_a_picture_names_takes_the_users_word() -> None:
    picture = Path("theirs.png")
    refuse_unasked(picture, Settings(), None, None)
    for model in ("somebody/something", "/models/x.safetensors", "\\\\server\\share", "x", "~nosuchuser/x", "y" * 4000):
        with pytest.raises(UserError, match=r"names the model .*--model.*--trust-picture"):
            refuse_unasked(picture, Settings(model=model), None, None)
        refuse_unasked(picture, Settings(model=model), "mine", None)
    with_lora = Settings(loras=(Lora("x.safetensors"),))
    with pytest.raises(UserError, match=r"names the LoRA 'x.safetensors'.*--lora.*--trust-picture"):
        refuse_unasked(picture, with_lora, None, None)
    refuse_unasked(picture, with_lora, None, ["mine.safetensors"])
