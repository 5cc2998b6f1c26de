"""The Python interface to whole pictures: the same pictures as the commands make, with the recipe inside."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib_ebca import Edit, Plan
from lib_ebca.studio import Studio, infotext, photographs
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import embedded
from lib_ebca.studio.pictures import open_picture
from lib_ebca.studio.recipe import from_text
from tests.cli.conftest import SIZE, Ebca

PROMPT = "a cat on a sofa <bcu:0.05:0.1>"


@pytest.fixture(scope="module")
def studio(tiny_model: Path) -> Studio:
    return Studio.open(str(tiny_model))


def pixels(image: Image.Image) -> list[int]:
    return [int(value) for value in np.asarray(image).ravel()]


def photo_at(path: Path) -> photographs.Photo:
    values = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return photographs.read(path)


def test_it_draws_what_the_command_draws(studio: Studio, ebca: Ebca, tiny_model: Path, tmp_path: Path) -> None:
    recipes = [studio.recipe(PROMPT, Plan(edits=(Edit("dog", 0.5),)), seed=seed, steps=2) for seed in (3, 4)]
    first, second = studio.draw(recipes)
    done = ebca(
        *("txt2img", PROMPT, "--edit", "dog:0.5", "--seed", 3, "--count", 2, "--batch-size", 2),
        *("--steps", 2, "--model", tiny_model, "--out", tmp_path),
    )
    assert done.exit_code == 0, done.output
    drawn = [open_picture(path) for path in sorted(tmp_path.glob("*.png"))]
    assert [pixels(picture.image) for picture in (first, second)] == [pixels(image) for image in drawn]
    assert pixels(first.image) != pixels(second.image)


def test_a_saved_picture_says_how_to_make_it_again(studio: Studio, tmp_path: Path) -> None:
    (picture,) = studio.draw([studio.recipe(PROMPT, seed=5, steps=2, guidance=3.0)])
    picture.save(tmp_path / "cat.png")
    text = infotext.from_picture(open_picture(tmp_path / "cat.png"))
    assert text is not None
    recipe, source = from_text(text)
    assert (recipe.prompt, recipe.plan, recipe.seed) == (PROMPT, picture.recipe.plan, 5)
    assert source == studio.model.source
    (again,) = studio.draw([recipe])
    assert pixels(again.image) == pixels(picture.image)
    with pytest.raises(FileExistsError):
        picture.save(tmp_path / "cat.png")


def test_photographs_keep_their_size(studio: Studio, tmp_path: Path) -> None:
    photo = photo_at(tmp_path / "photo.png")
    mask = Image.new("L", photo.image.size, 255)
    recipe = studio.recipe("a cat <edit:dog:0.5>", seed=1, steps=2)
    varied = studio.vary([recipe], photo, strength=0.5)[0]
    painted = studio.inpaint([recipe], photo, mask)[0]
    edited = studio.edit(recipe, photo)
    for picture, task in ((varied, "img2img"), (painted, "inpaint"), (edited, "edit")):
        assert picture.image.size == photo.image.size
        assert f"EBCA task: {task}" in picture.parameters and photo.digest in picture.parameters
    with pytest.raises(UserError, match="mask is black"):
        studio.inpaint([recipe], photo, Image.new("L", photo.image.size, 0))


def test_what_cannot_be_is_one_sentence(studio: Studio) -> None:
    with pytest.raises(UserError, match="--steps is 0"):
        studio.recipe("a cat", steps=0)
    with pytest.raises(UserError, match="no/such/folder/here"):
        Studio.open("no/such/folder/here")


@pytest.mark.skipif("shapes" not in embedded(), reason="the embedded model is not there")
def test_the_example_of_the_docstring_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lib_ebca.studio.studio

    example = "\n".join(re.findall(r"^    (.*)$", str(lib_ebca.studio.studio.__doc__), re.MULTILINE))
    monkeypatch.chdir(tmp_path)
    exec(example.replace("steps=25", "steps=2"), {})
    assert open_picture(tmp_path / "cat-and-dog.png").size == (128, 128)
