"""`ebca p2p` on a model of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest

from lib_ebca.studio import infotext
from lib_ebca.studio.pictures import open_picture, png
from tests.cli.conftest import Ebca

PROMPTS = ("a cat on a sofa", "a dog on a sofa", "a wolf on a sofa")


@pytest.fixture
def p2p(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> Ebca:
    common = ("--model", tiny_model, "--steps", 2, "--out", tmp_path / "out")
    return lambda *arguments: ebca("p2p", *common, *arguments)


def pixels(path: str | Path) -> numpy.ndarray:
    return numpy.asarray(open_picture(Path(path))).astype(int)


def test_source_targets_and_a_sheet(p2p: Ebca, draw: Ebca, tmp_path: Path) -> None:
    result = p2p(*PROMPTS, "--seed", 7, "--cross", "1", "--cross-word", "dog:0.4", "--weight", "wolf:5")
    assert result.exit_code == 0, result.output
    names = ["00001-7.png", "00002-7.png", "00003-7.png", "00001-7-p2p.png"]
    assert result.stdout.split() == [str(tmp_path / "out" / name) for name in names]
    plain = [draw(prompt, "--seed", 7, "--json").stdout for prompt in PROMPTS]
    source, dog, wolf = (pixels(tmp_path / "out" / name) for name in names[:3])
    alone = [pixels(json.loads(line)["path"]) for line in plain]
    assert numpy.abs(source - alone[0]).max() <= 1
    assert (dog != alone[1]).any()
    assert (wolf != alone[2]).any()
    assert (dog != wolf).any()


def test_a_picture_and_those_beside_it_are_made_again(p2p: Ebca, tmp_path: Path) -> None:
    asked = ("--seed", 3, "--blend", "cat", "--blend", "dog", "--threshold", 0.5, "--self", "0.1-0.9", "--bcu", "1:1")
    p2p(*PROMPTS[:2], *asked)
    first = [pixels(tmp_path / "out" / f"0000{number}-3.png") for number in (1, 2)]
    again = p2p("--from", tmp_path / "out" / "00002-3.png")
    assert again.exit_code == 0, again.output
    for number, before in zip((3, 4), first, strict=True):
        path = tmp_path / "out" / f"0000{number}-3.png"
        assert (pixels(path) == before).all()
        assert infotext.from_picture(open_picture(path)) == infotext.from_picture(
            open_picture(tmp_path / "out" / f"0000{number - 2}-3.png")
        )


def test_json_says_the_plan_and_the_sheet(p2p: Ebca) -> None:
    result = p2p(*PROMPTS[:2], "--seed", 1, "--json")
    source, target, sheet = (json.loads(line) for line in result.stdout.splitlines())
    assert source["plan"] == {}
    assert target["plan"]["follow"]["source"] == 0
    assert Path(sheet["sheet"]).is_file()


def test_subjects_of_a_picture_that_follows_act_and_are_told_with_it(p2p: Ebca) -> None:
    def drawn(target: str) -> list[dict[str, Any]]:
        result = p2p(PROMPTS[0], target, "--seed", 1, "--json")
        return [json.loads(line) for line in result.stdout.splitlines()[:2]]

    plain, moved = drawn(PROMPTS[1]), drawn(PROMPTS[1] + " <excite:dog:scale=1000:refine=off>")
    source, target = (
        numpy.abs(pixels(after["path"]) - pixels(before["path"])).max()
        for before, after in zip(plain, moved, strict=True)
    )
    assert source <= 1 < target
    assert moved[0]["comments"] == []
    (sentence,) = moved[1]["comments"]
    assert sentence.startswith("Subjects: the latent was moved in 1 step")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a cat",), "give the source's prompt and at least one more"),
        (("a cat", "a big cat", "--align", "replace"), "the prompts have 2 and 3 words"),
        (("a cat", "a dog", "--align", "best"), "align is 'best': it should be one of auto, replace, refine"),
        (("a cat", "a dog", "--weight", "horse:2"), '"horse" is not in the prompt'),
        (("a cat", "a dog", "--blend", "horse"), '"horse" is not in the prompt'),
        (("a cat", "a dog", "--cross", "2"), "--cross is '2': it should be a share of the pass from 0 to 1"),
        (("a cat", "a dog", "--cross-word", "dog"), "--cross-word 'dog': it should be WORD:NUMBER"),
        (("a cat", "a dog", "--weight", "dog:much"), "--weight dog is 'much': it should be a number"),
        (("a cat", "a dog", "--threshold", "nan"), "threshold is nan: it should be a share"),
        (
            ("a cat", "a dog", "--concept", "dog:Color"),
            "no head relevance vectors are published for a UNet of 4 layers",
        ),
    ],
)
def test_bad_input_is_one_sentence(p2p: Ebca, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    result = p2p(*arguments)
    assert result.exit_code != 0
    assert sentence in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list((tmp_path / "out").glob("*.png"))


def test_pictures_of_other_commands_and_spoilt_ones_are_refused(p2p: Ebca, draw: Ebca, tmp_path: Path) -> None:
    draw("a cat", "--seed", 1)
    path = tmp_path / "out" / "00001-1.png"
    assert "was not made by `ebca p2p`" in p2p("--from", path).stderr
    p2p(*PROMPTS[:2], "--seed", 2)
    made = tmp_path / "out" / "00002-2.png"
    text = infotext.from_picture(open_picture(made))
    assert text is not None
    for number, spoilt in enumerate((text.replace('\\"source\\"', '\\"sauce\\"'), text.replace('\\"prompts\\"', "1"))):
        assert spoilt != text
        (tmp_path / f"{number}.png").write_bytes(png(open_picture(path), spoilt))
        if number == 0:
            # The source's text is in the target's plan alone.
            result = p2p("--from", tmp_path / "0.png")
            assert "EBCA together" in result.stderr
        else:
            assert "EBCA together" in p2p("--from", tmp_path / "1.png").stderr


def test_another_command_does_not_draw_it_without_following(p2p: Ebca, ebca: Ebca, tmp_path: Path) -> None:
    p2p(*PROMPTS[:2], "--seed", 3)
    refused = ebca("txt2img", "--from", tmp_path / "out" / "00002-3.png", "--trust-picture", "--out", tmp_path / "x")
    assert refused.exit_code == 2
    assert "was not made by `ebca txt2img` but by 'p2p': --from repeats the same task" in refused.output
    assert not (tmp_path / "x").exists()
