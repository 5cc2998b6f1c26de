"""What is done to a photograph, written into the picture and read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_ebca import Edit, Plan
from lib_ebca.studio import recipe, task
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.recipe import Recipe, Settings, Source
from lib_ebca.studio.task import Inverting, Task

positive = st.floats(0, 1e3, allow_nan=False)
inversions = st.one_of(
    st.builds(Inverting, st.just("fixed-point"), st.integers(1, 99), positive),
    st.builds(
        lambda rounds, rolls, auto, kl: Inverting("published", 10, 1e-4, rounds, rolls, auto, kl),
        st.integers(0, 9),
        st.integers(1, 9),
        positive,
        positive,
    ),
)
digests = st.text("0123456789abcdef", min_size=16, max_size=16)
tasks = st.one_of(
    st.builds(
        lambda d, fit, how: Task("edit", d, fit, (1, 2, 30, 40) if fit == "crop" else None, inverting=how),
        digests,
        st.sampled_from(("resize", "crop")),
        inversions,
    ),
    st.builds(lambda d, s: Task("img2img", d, strength=s), digests, st.floats(0.01, 1)),
    st.builds(
        lambda d, m, s, p, f: Task("inpaint", d, "crop", None, m, s, None, None, p, f),
        digests,
        digests,
        st.floats(0.01, 1),
        st.booleans(),
        positive,
    ),
    st.builds(
        lambda d, m, a, b: Task("repaint", d, mask=m, jumps=(a, b), paste_back=True),
        digests,
        digests,
        st.integers(1, 50),
        st.integers(1, 50),
    ),
)
COMMANDS = {"edit": "edit", "img2img": "img2img", "inpaint": "inpaint", "repaint": "inpaint"}


def made(prompt: str = "a cat", negative: str = "") -> Recipe:
    settings = Settings(
        sampler="DDIM", width=512, height=512, dtype="float32", device="cpu", negative=negative, guidance=5.0
    )
    return Recipe(settings, prompt, Plan(edits=(Edit("dog", 0.75, 0.5),)), 7)


@given(tasks)
def test_round_trip(what: Task) -> None:
    text = task.to_text(made(), Source("m", "0123456789"), what)
    assert task.from_text(text, COMMANDS[what.kind]) == what


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_recipe_stays_as_it_was(prompt: str, negative: str) -> None:
    with_task = task.to_text(made(prompt, negative), Source("m", "0123456789"), Task("img2img", "0" * 16, strength=0.5))
    alone = recipe.to_text(made(prompt, negative), Source("m", "0123456789"))
    assert recipe.from_text(with_task) == recipe.from_text(alone)


def test_another_command_s_picture_is_refused() -> None:
    text = task.to_text(made(), Source("m", "0123456789"), Task("img2img", "0" * 16, strength=0.5))
    with pytest.raises(UserError, match="was not made by `ebca edit` but by 'img2img'"):
        task.from_text(text, "edit")
    with pytest.raises(UserError, match="but by 'txt2img'"):
        task.from_text(recipe.to_text(made(), Source("m", "0123456789")), "inpaint")


@pytest.mark.parametrize(
    "spoilt",
    [
        "EBCA jumps: 3",
        "EBCA jumps: ²x²",
        "Denoising strength: much",
        "Denoising strength: nan",
        "EBCA feather: 1e999",
        "EBCA box: 1 2 3",
        "EBCA box: 5 5 1 9",
        "EBCA box: a b c d",
        "EBCA inversion: published rolls=x",
        "EBCA inversion: published numbers=3",
        "EBCA inversion: published tolerance=3",
        "EBCA inversion: fixed-point iterations=1.5",
        "EBCA inversion: guessed",
    ],
)
def test_a_spoilt_field_is_one_sentence(spoilt: str) -> None:
    what = Task("repaint", "0" * 16, "crop", (0, 0, 8, 8), "1" * 16, 0.5, Inverting(), (1, 2), True, feather=2.0)
    text = task.to_text(made(), Source("m", "0123456789"), what)
    name = spoilt.partition(":")[0]
    fields = [spoilt if field.strip().startswith(name + ":") else field for field in text.split(",")]
    with pytest.raises(UserError, match=f"field {name} is"):
        task.from_text(",".join(fields), "inpaint")
