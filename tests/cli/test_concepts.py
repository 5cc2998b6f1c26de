"""`--concept` and `--vectors`: pictures, their texts, and what cannot be."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_ebca.methods.head_vectors import HeadVectors, read
from lib_ebca.studio.recipe import from_text
from tests import tiny_pipe
from tests.cli.conftest import Ebca
from tests.cli.test_bad_input import refused

PROMPT = "a cat on a sofa"


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Vectors of the tiny model's shape: four layers of two heads."""
    path = tmp_path / "vectors.json"
    HeadVectors(("Color", "Image Style"), torch.rand(2, 8) * 3, (2, 2, 2, 2), "made up").write(path)
    return path


@pytest.fixture
def draw(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> Callable[..., Path]:
    def draw(*arguments: str) -> Path:
        before = set(tmp_path.glob("*.png"))
        result = ebca("txt2img", *arguments, "--model", str(tiny_model), "--steps", "2", "--out", str(tmp_path))
        assert result.exit_code == 0, result.stderr
        (path,) = set(tmp_path.glob("*.png")) - before
        return path

    return draw


def pixels(path: Path) -> bytes:
    return Image.open(path).tobytes()


def test_an_option_is_the_directive_and_the_picture_comes_again(
    draw: Callable[..., Path], vectors: Path, tmp_path: Path
) -> None:
    with_file = ("--vectors", str(vectors), "--seed", "1")
    asked = draw(PROMPT, "--concept", "cat:Image Style=2:Color=-1:from=0.1", *with_file)
    written = draw(f"{PROMPT} <concept:cat:Image Style=2:Color=-1:from=0.1>", *with_file)
    assert pixels(asked) == pixels(written)
    assert pixels(asked) != pixels(draw(PROMPT, "--seed", "1"))
    recipe, _ = from_text(Image.open(asked).info["parameters"])
    assert recipe.settings.vectors == str(vectors)
    assert recipe.plan.concepts[0].weights == (("Image Style", 2.0), ("Color", -1.0))
    assert pixels(draw("--from", str(asked), "--vectors", str(vectors))) == pixels(asked)
    assert pixels(draw("--from", str(asked), "--trust-picture")) == pixels(asked)


def test_a_subject_may_be_read_off_the_heads_of_a_concept(
    draw: Callable[..., Path], ebca: Ebca, tiny_model: Path, vectors: Path
) -> None:
    with_file = ("--vectors", str(vectors), "--seed", "1")
    asked = draw(PROMPT, "--excite", "cat:concept=Color:scale=2000", *with_file)
    recipe, _ = from_text(Image.open(asked).info["parameters"])
    assert recipe.plan.excite[0].concept == "Color"
    assert recipe.settings.vectors == str(vectors)
    assert pixels(draw("--from", str(asked), "--vectors", str(vectors))) == pixels(asked)
    assert pixels(draw(PROMPT, "--excite", "cat:scale=2000", "--seed", "1")) != pixels(asked)
    result = ebca(
        "txt2img", PROMPT, "--excite", "cat:concept=Animal", "--vectors", str(vectors), "--model", str(tiny_model)
    )
    refused(result, "no concept 'Animal'", "the vectors know Color, Image Style")


def test_a_picture_opens_no_vectors_on_its_own(
    draw: Callable[..., Path], ebca: Ebca, vectors: Path, tiny_model: Path, tmp_path: Path
) -> None:
    asked = draw(PROMPT, "--concept", "cat:Color", "--vectors", str(vectors))
    refused(ebca("txt2img", "--from", asked, "--model", tiny_model), str(vectors)[:30], "--vectors", "--trust-picture")


def test_vectors_in_the_models_folder_are_its_own(draw: Callable[..., Path], vectors: Path, tiny_model: Path) -> None:
    given = draw(PROMPT, "--concept", "cat:Color", "--vectors", str(vectors), "--seed", "1")
    beside = tiny_model / "head_relevance.json"
    read(vectors).write(beside)
    try:
        assert pixels(draw(PROMPT, "--concept", "cat:Color", "--seed", "1")) == pixels(given)
    finally:
        beside.unlink()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--concept", "cat"), ("--concept 'cat'", "lacks a concept")),
        (("--concept", "cat:Colour"), ("'Colour'", "did you mean Color?", "Color, Image Style")),
        (("--concept", "dog:Color"), ("dog", "not in the prompt", "sofa")),
        (("--concept", "cat:Color", "--vectors", "no.json"), ("no.json", "cannot be read")),
    ],
)
def test_bad_input_is_one_sentence(
    ebca: Ebca, tiny_model: Path, vectors: Path, tmp_path: Path, arguments: tuple[str, ...], says: tuple[str, ...]
) -> None:
    given = arguments if "--vectors" in arguments else (*arguments, "--vectors", str(vectors))
    out = ("--model", str(tiny_model), "--steps", "1", "--out", str(tmp_path / "out"))
    refused(ebca("txt2img", PROMPT, *given, *out), *says)
    assert not list((tmp_path / "out").glob("*"))


def test_a_model_without_vectors_is_told_how_to_get_them(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> None:
    asked = ("--model", str(tiny_model), "--concept", "cat:Color", "--steps", "1", "--out", str(tmp_path / "out"))
    refused(ebca("txt2img", PROMPT, *asked), "ebca heads measure")


def test_the_commands_of_the_page_run_on_a_model_of_the_shape_of_sd_1(ebca: Ebca, tmp_path: Path) -> None:
    """The published examples as the page has them, with the published vectors."""
    levels = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    pipe = tiny_pipe.sd1(
        sample_size=16,
        block_out_channels=(16, 16, 24, 24),
        layers_per_block=2,
        down_block_types=levels,
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=8,
    )
    pipe.save_pretrained(tmp_path / "sd1")
    page = (Path(__file__).parents[2] / "docs" / "head-relevance.md").read_text(encoding="utf-8")
    commands = [line.strip() for line in page.splitlines() if line.startswith("    ebca txt2img")]
    table = [f"{command} --model MODEL" for command in re.findall(r"\| `(ebca [^`]*)` \|\n", page)]
    assert len(commands) == 2
    assert len(table) == 4
    for command in (*commands, *table):
        words = [str(tmp_path / "sd1") if word == "MODEL" else word for word in shlex.split(command)[1:]]
        done = ebca(*words, "--steps", 1, "--out", tmp_path / "out")
        assert done.exit_code == 0, done.stderr
    # A picture of each command, and of p2p the source, the target and a sheet.
    assert len(list((tmp_path / "out").glob("*.png"))) == len(commands) + len(table) + 2
