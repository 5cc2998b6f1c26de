"""`ebca heads`: measuring that stops and goes on, shards that add up, plots, and weakening."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import Result

from lib_ebca.methods.head_vectors import read
from lib_ebca.studio import head_measure
from tests.cli.conftest import Ebca
from tests.cli.test_bad_input import refused

CONCEPTS = "Animals: [cat, dog]\nFurniture: [sofa]\nClothes: [a shirt, shirt, dog shirt]\n"
PROMPTS = "a cat\na dog on a sofa\n\na castle\n"
STEPS = 2


@pytest.fixture
def measure(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> Callable[..., Result]:
    (tmp_path / "concepts.yaml").write_text(CONCEPTS)
    (tmp_path / "prompts.txt").write_text(PROMPTS)
    common = ("--concepts", tmp_path / "concepts.yaml", "--prompts", tmp_path / "prompts.txt", "--model", tiny_model)

    def measure(out: str, *more: object) -> Result:
        return ebca("heads", "measure", *common, "--steps", STEPS, "--out", tmp_path / out, *more)

    return measure


def counts(path: Path) -> torch.Tensor:
    found = read(path).counts
    assert found is not None
    return found


def test_every_head_votes_once_for_each_prompt_and_evaluation(measure: Callable[..., Result], tmp_path: Path) -> None:
    assert measure("v.json").exit_code == 0
    found = read(tmp_path / "v.json")
    assert found.concepts == ("Animals", "Furniture", "Clothes")
    # PNDM evaluates once more than it steps.
    assert counts(tmp_path / "v.json").shape == (STEPS + 1, 3, sum(found.heads))
    assert (counts(tmp_path / "v.json").sum(1) == 3).all()
    assert found.measured["words"]["Clothes"] == ["a shirt", "shirt", "dog shirt"]
    assert {"model_hash", "prompts_hash", "words_hash", "seed"} <= found.measured.keys()


def test_batches_and_shards_add_up_to_the_same(measure: Callable[..., Result], ebca: Ebca, tmp_path: Path) -> None:
    assert measure("all.json", "--batch-size", 3).exit_code == 0
    assert measure("a.json", "--shard", "1/2").exit_code == 0
    assert measure("b.json", "--shard", "2/2", "--batch-size", 1).exit_code == 0
    merged = ebca("heads", "merge", tmp_path / "a.json", tmp_path / "b.json", "--out", tmp_path / "merged.json")
    assert merged.exit_code == 0, merged.stderr
    assert torch.equal(counts(tmp_path / "merged.json"), counts(tmp_path / "all.json"))
    refused(ebca("heads", "merge", tmp_path / "a.json", tmp_path / "a.json", "--out", tmp_path / "x.json"), "prompt 1")
    assert not (tmp_path / "x.json").exists()


def test_a_stopped_measurement_goes_on(
    measure: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert measure("whole.json", "--batch-size", 1).exit_code == 0
    honest = head_measure.batches

    def stopped(*arguments: object, **keywords: object) -> object:
        yield next(honest(*arguments, **keywords))  # type: ignore[arg-type]  # passes on whatever it was given
        raise KeyboardInterrupt

    monkeypatch.setattr(head_measure, "batches", stopped)
    assert measure("v.json", "--batch-size", 1).exit_code == 130
    assert read(tmp_path / "v.json").measured["done"] == [0]
    monkeypatch.setattr(head_measure, "batches", honest)
    assert measure("v.json", "--batch-size", 1).exit_code == 0
    assert torch.equal(counts(tmp_path / "v.json"), counts(tmp_path / "whole.json"))


def test_two_runs_into_one_file_lose_nothing(
    measure: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = head_measure.batches

    def beside_another(*arguments: object, **keywords: object) -> object:
        for part in honest(*arguments, **keywords):  # type: ignore[arg-type]  # passes on whatever it was given
            (tmp_path / "v.json").write_bytes(b"what the other has found")
            yield part

    monkeypatch.setattr(head_measure, "batches", beside_another)
    refused(measure("v.json"), "another run has written into", "--out")
    assert (tmp_path / "v.json").read_bytes() == b"what the other has found"


@pytest.mark.parametrize(
    ("spoil", "more", "says"),
    [
        ("Animals: [cat]\n", (), ("at least two concepts",)),
        ("Animals: cat\nB: [dog]\n", (), ("'Animals'", "list of words")),
        ("[", (), ("no YAML",)),
        ("A: &x [cat]\nB: *x\n", (), ("no YAML", "anchors")),
        ("[" * 2000, (), ("no YAML", "nested too deep")),
        ("A: [cat, ~]\nB: [dog]\n", (), ("'A'", "list of words")),
        ("A: [1:30, 3]\nB: [dog]\n", (), ("'A'", "list of words")),
        (CONCEPTS, ("--shard", "²/³"), ("--shard is '²/³'", "PART/PARTS")),
        (CONCEPTS, ("--shard", "1/" + "9" * 5000), ("--shard is '1/999", "PART/PARTS")),
        (CONCEPTS, ("--shard", "3/2"), ("--shard is '3/2'", "PART/PARTS")),
        (CONCEPTS, ("--shard", "9/9"), ("only 3 prompts",)),
        (CONCEPTS, ("--engine", "spark"), ("--engine is 'spark'", "local or ray")),
        (CONCEPTS, ("--steps", "0"), ("--steps is 0",)),
    ],
)
def test_bad_input_is_one_sentence(
    measure: Callable[..., Result], tmp_path: Path, spoil: str, more: tuple[str, ...], says: tuple[str, ...]
) -> None:
    (tmp_path / "concepts.yaml").write_text(spoil)
    refused(measure("v.json", *more), *says)
    assert not (tmp_path / "v.json").exists()


def test_words_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "words.yaml"
    path.write_text("\ufeffAnswers: [no, on, 1:30]\r\nNumbers: [1e3, two]\r\n", encoding="utf-8")
    assert head_measure.read_words(path) == {"Answers": ("no", "on", "1:30"), "Numbers": ("1e3", "two")}


def test_another_measurement_is_not_added_to(measure: Callable[..., Result], tmp_path: Path) -> None:
    assert measure("v.json").exit_code == 0
    before = (tmp_path / "v.json").read_bytes()
    refused(measure("v.json", "--seed", 5), "another measurement", "seed is 22", "5")
    assert (tmp_path / "v.json").read_bytes() == before


def test_show_lists_and_plots(measure: Callable[..., Result], ebca: Ebca, tmp_path: Path) -> None:
    assert measure("v.json").exit_code == 0
    shown = ebca("heads", "show", tmp_path / "v.json", "--out", tmp_path / "plots", "--top", 1, "--json")
    assert shown.exit_code == 0, shown.stderr
    listed = json.loads(shown.stdout)
    best = listed["concepts"]["Furniture"][0]
    assert best["relevance"] == pytest.approx(float(read(tmp_path / "v.json").relevance[1].max()), abs=1e-3)
    assert {Path(path).name for path in listed["plots"]} == {"heads.png", "cosines.png", "steps.png"}
    for path in listed["plots"]:
        assert Image.open(path).size[0] > 100
    refused(ebca("heads", "show", "sd1", "--concept", "Colours"), "did you mean Color?")
    assert "Image Style: layer 7 head 4 (18.17)" in ebca("heads", "show", "sd1").stdout


def test_weaken_leaves_a_plot_and_numbers(ebca: Ebca, tmp_path: Path) -> None:
    asked = ("--count", 2, "--points", 1, "--randoms", 1, "--steps", 2, "--out", tmp_path, "--model", "shapes")
    done = ebca("heads", "weaken", "colours", "--score", "colours", *asked)
    assert done.exit_code == 0, done.stderr
    found = json.loads((tmp_path / "weaken-colours.json").read_text())
    assert set(found["areas"]) == {"most relevant first", "least relevant first", "uniform", "random"}
    assert found["what"]["counts"] == [0, 17, 34]
    assert "least relevant first less most relevant first" in done.stdout
    assert Image.open(tmp_path / "weaken-colours.png").size[0] > 100
    refused(ebca("heads", "weaken", "Colour", "--model", "shapes", "--out", tmp_path), "did you mean Colours?")
    smell = ebca("heads", "weaken", "Colours", "--score", "smell", "--model", "shapes", "--out", tmp_path)
    refused(smell, "'smell'", "shapes, colours")


@pytest.mark.slow
def test_workers_of_ray_count_the_same(measure: Callable[..., Result], tmp_path: Path) -> None:
    assert measure("here.json", "--batch-size", 1).exit_code == 0
    done = measure("there.json", "--batch-size", 1, "--engine", "ray", "--workers", 1)
    assert done.exit_code == 0, done.stderr
    assert torch.equal(counts(tmp_path / "there.json"), counts(tmp_path / "here.json"))
