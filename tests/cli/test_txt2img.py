"""Pictures from the command line, with a model of random weights."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy
import pytest
from PIL import Image
from typer.testing import Result

from lib_ebca.studio import infotext, samplers
from lib_ebca.studio.pictures import open_picture, png
from tests.cli.conftest import SIZE, Ebca

PROMPT = "a cat on a sofa"
TRUSTED = ("--trust-picture", "--json")
ACTIVE = ("--bcu", "1:1", "--edit", "dog:0.75:from=0.4")


def lines(result: Result) -> list[dict]:
    """The JSON lines of a run that succeeded."""
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def pixels(path: str | Path) -> numpy.ndarray:
    """The picture as numbers."""
    return numpy.asarray(open_picture(Path(path)))


def parameters(path: str | Path) -> str:
    """The text in the picture."""
    text = infotext.from_picture(open_picture(Path(path)))
    assert text is not None
    return text


def test_a_picture_has_the_models_size_and_says_how_it_was_made(draw: Ebca, tmp_path: Path) -> None:
    result = draw(PROMPT, "--seed", 7, "--negative", "blurry", *ACTIVE)
    assert result.exit_code == 0, result.output
    path = tmp_path / "out" / "00001-7.png"
    assert result.stdout.split() == [str(path)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert open_picture(path).size == (SIZE, SIZE)
    info = infotext.read(parameters(path))
    assert (info.prompt, info.negative) == (PROMPT, "blurry")
    assert info.fields["EBCA"] == "<bcu:1:1> <edit:dog:0.75:from=0.4>"
    assert (info.fields["Sampler"], info.fields["Steps"], info.fields["Seed"]) == ("PLMS", "2", "7")
    assert info.fields["Size"] == f"{SIZE}x{SIZE}"
    # As readable for others as any file of theirs.
    assert stat.S_IMODE(path.stat().st_mode) & 0o400


def test_options_and_directives_draw_the_same_picture(draw: Ebca) -> None:
    (option,) = lines(draw(PROMPT, "--seed", 7, "--json", *ACTIVE, "--boost", "sofa:2"))
    prompt = f"{PROMPT} <bcu:1:1> <edit:dog:0.75:from=0.4> <boost:sofa:2>"
    (directive,) = lines(draw(prompt, "--seed", 7, "--json"))
    (mixed,) = lines(draw(f"{PROMPT} <bcu:1:1> <boost:sofa:2>", "--edit", "dog:0.75:from=0.4", "--seed", 7, "--json"))
    (plain,) = lines(draw(PROMPT, "--seed", 7, "--json"))
    assert option["plan"] == directive["plan"] == mixed["plan"]
    assert (pixels(option["path"]) == pixels(directive["path"])).all()
    assert (pixels(option["path"]) == pixels(mixed["path"])).all()
    assert (pixels(option["path"]) != pixels(plain["path"])).any()


def test_each_part_of_a_plan_changes_the_picture(draw: Ebca) -> None:
    parts = [(), ("--bcu", "1:1"), ("--bcu", "1:1", "--boost", "cat:3"), ("--edit", "dog:2"), ("--edit", "dog:-0.5")]
    drawn = [lines(draw(PROMPT, "--seed", 3, "--json", *part))[0]["path"] for part in parts]
    assert len({pixels(path).tobytes() for path in drawn}) == len(parts)


@pytest.mark.parametrize(
    "options",
    [
        (*ACTIVE, "--boost", "cat#1:2", "--negative", " a dog,\n\nblurry ", "--cfg", "3.25", "--drift"),
        ("--sampler", "euler A", "--width", "40", "--height", "24", "--clip-skip", "2"),
        ("--dtype", "bfloat16", "--steps", "3"),
    ],
)
def test_from_a_picture_the_same_picture(draw: Ebca, ebca: Ebca, tmp_path: Path, options: tuple[str, ...]) -> None:
    (first,) = lines(draw(f"{PROMPT},  (a castle:1.3) ", "--json", *options))
    (second,) = lines(ebca("txt2img", "--from", first["path"], "--out", tmp_path / "again", *TRUSTED))
    assert (pixels(first["path"]) == pixels(second["path"])).all()
    assert parameters(first["path"]) == parameters(second["path"])
    assert first["plan"] == second["plan"]
    assert first["prompt"] == second["prompt"]


def test_from_a_picture_of_a_batch_the_same_picture(draw: Ebca, ebca: Ebca, tmp_path: Path) -> None:
    drawn = lines(draw(PROMPT, "--seed", 5, "--count", 5, "--batch-size", 3, "--json", "--sampler", "Euler a", *ACTIVE))
    assert [each["seed"] for each in drawn] == [5, 6, 7, 8, 9]
    for each in (drawn[1], drawn[4]):
        (again,) = lines(ebca("txt2img", "--from", each["path"], "--out", tmp_path / "again", *TRUSTED))
        assert (pixels(each["path"]) == pixels(again["path"])).all()
        assert parameters(each["path"]) == parameters(again["path"])


def test_a_picture_does_not_depend_on_its_batch(draw: Ebca) -> None:
    together = lines(draw(PROMPT, "--seed", 5, "--count", 2, "--batch-size", 2, "--json", "--sampler", "Euler a"))
    (alone,) = lines(draw(PROMPT, "--seed", 6, "--json", "--sampler", "Euler a"))
    difference = pixels(together[1]["path"]).astype(int) - pixels(alone["path"])
    # Other kernels for another batch size: the last bits of the arithmetic may tip a rounding.
    assert abs(difference).max() <= 1


def test_options_win_over_the_picture(draw: Ebca, ebca: Ebca, tmp_path: Path) -> None:
    (first,) = lines(draw(PROMPT, "--seed", 5, "--json", *ACTIVE))
    again = ("txt2img", "--from", first["path"], "--out", tmp_path / "again", *TRUSTED)
    (other,) = lines(ebca(*again, "--seed", 6, "--bcu", "2:1", "--edit", "castle:0.5", "--steps", 1))
    assert other["seed"] == 6
    assert other["plan"]["update"] == {"attn": 2.0, "norm": 1.0}
    assert [edit["text"] for edit in other["plan"]["edits"]] == ["dog", "castle"]
    assert "Steps: 1," in parameters(other["path"])
    (reworded,) = lines(ebca(*again, "a dog"))
    assert (reworded["prompt"], reworded["plan"]) == ("a dog", {})


def test_several_prompts_have_their_own_directives(draw: Ebca) -> None:
    drawn = lines(draw(f"{PROMPT} <edit:dog:2>", "a castle", "--bcu", "--seed", 1, "--count", 2, "--json"))
    assert [(each["prompt"], each["seed"]) for each in drawn] == [
        (f"{PROMPT} <edit:dog:2>", 1),
        (f"{PROMPT} <edit:dog:2>", 2),
        ("a castle", 1),
        ("a castle", 2),
    ]
    assert "edits" in drawn[0]["plan"]
    assert drawn[2]["plan"] == {"update": {}}


def test_bare_bcu_leaves_the_prompt_alone(draw: Ebca) -> None:
    (drawn,) = lines(draw("--seed", 1, "--json", "--bcu", PROMPT))
    assert drawn["prompt"] == PROMPT
    assert infotext.read(parameters(drawn["path"])).fields["EBCA"] == "<bcu:0.01:0.02>"


@pytest.mark.parametrize("sampler", [*samplers.NAMES, "pndm"])
@pytest.mark.parametrize("steps", [1, 4])
def test_every_sampler_draws(draw: Ebca, sampler: str, steps: int) -> None:
    (drawn,) = lines(draw(PROMPT, "--sampler", sampler.upper(), "--steps", steps, "--seed", 1, "--json"))
    name, schedule = samplers.with_schedule(samplers.canonical(sampler))
    fields = infotext.read(parameters(drawn["path"])).fields
    assert (fields["Sampler"], fields.get("Schedule type")) == (name, schedule)
    assert pixels(drawn["path"]).std() > 0


def test_maps_and_energies_lie_beside_the_picture(draw: Ebca, tmp_path: Path) -> None:
    options = ("--save-maps", "--save-energy", "--compare", "--bcu", "1:1", "--seed", 2, "--json")
    with_update, without = lines(draw("a cat: on (a sofa:1.1)", *options))
    names = [Path(path).name for path in with_update["maps"]]
    assert names[1:3] == ["00001-2-map-02-cat.png", "00001-2-map-03-_.png"]
    assert names[-1] == "00001-2-maps.png"
    assert all(open_picture(Path(path)).size == (SIZE, SIZE) for path in with_update["maps"][:-1])
    assert len({pixels(path).tobytes() for path in with_update["maps"]}) == len(names)
    assert with_update["energy"] == str(tmp_path / "out" / "00001-2-energy.png")
    assert open_picture(Path(with_update["energy"])).width > 500
    assert (without["plan"], without["energy"]) == ({}, None)
    (plain,) = lines(draw("a cat: on (a sofa:1.1)", "--seed", 2, "--json"))
    assert (pixels(without["path"]) == pixels(plain["path"])).all()
    (again,) = lines(draw("a cat: on (a sofa:1.1)", "--bcu", "1:1", "--seed", 2, "--json"))
    assert (pixels(with_update["path"]) == pixels(again["path"])).all()


def test_nothing_is_written_over(draw: Ebca, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "00041-7.png").write_bytes(b"somebody's")
    result = draw(PROMPT, "--seed", 7)
    assert result.stdout.split() == [str(out / "00042-7.png")]
    assert (out / "00041-7.png").read_bytes() == b"somebody's"


def test_a_webui_tag_is_said_to_be_plain_text(draw: Ebca) -> None:
    (drawn,) = lines(draw(f"{PROMPT} <lora:fur:0.8>", "--json"))
    assert any("<lora:fur:0.8>" in comment for comment in drawn["comments"])
    result = draw(f"{PROMPT} <lora:fur:0.8>", "--quiet")
    assert result.stdout == ""
    assert "Note: <lora:fur:0.8>" in result.stderr


def test_a_lora_acts_and_comes_back(draw: Ebca, ebca: Ebca, tmp_path: Path, tiny_lora: Path) -> None:
    (plain,) = lines(draw(PROMPT, "--seed", 1, "--json"))
    (with_lora,) = lines(draw(PROMPT, "--seed", 1, "--json", "--lora", f"{tiny_lora}:0.5"))
    (again,) = lines(ebca("txt2img", "--from", with_lora["path"], "--out", tmp_path / "again", *TRUSTED))
    assert (pixels(plain["path"]) != pixels(with_lora["path"])).any()
    assert (pixels(again["path"]) == pixels(with_lora["path"])).all()
    assert f"{tiny_lora}:0.5" in parameters(again["path"])


def test_another_model_than_the_pictures_is_mentioned(draw: Ebca, ebca: Ebca, tmp_path: Path) -> None:
    (drawn,) = lines(draw(PROMPT, "--seed", 1, "--json"))
    text = parameters(drawn["path"])
    digest = infotext.read(text).fields["Model hash"]
    other = tmp_path / "other.png"
    other.write_bytes(png(Image.new("RGB", (8, 8)), text.replace(digest, "ffffffffff")))
    (again,) = lines(ebca("txt2img", "--from", other, "--out", tmp_path / "again", *TRUSTED))
    assert any("ffffffffff" in comment and digest in comment for comment in again["comments"])
    assert (pixels(again["path"]) == pixels(drawn["path"])).all()
