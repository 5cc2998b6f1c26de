"""The book's judge, scorer and figures, trained for a few steps at tiny size."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor
from typer.testing import CliRunner

from training.book import TINY_WIDTHS, find_eye, prompt_sets, rates
from training.cli import app
from training.eye import draw_scenes, eye_accuracy, train_eye
from training.loop import Budget, LoopSettings
from training.scorer import contrast, make_clip, other_colour, other_noun, scorer_accuracy
from training.stages import ROOT, Recipe, told_from_root
from training.start import earlier_runs, steps_before
from training.tokenizer import build_tokenizer
from training.worlds import WORLDS
from world.book.captions import WORDS
from world.book.contents import PRIMER
from world.book.eye import EYE_FILE, Eye, load_eye, save_eye
from world.book.judge import Sighting

CPU = torch.device("cpu")


def test_the_eye_learns_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    def settings(stop_at: int | None = None) -> LoopSettings:
        return LoopSettings(Budget(steps=6), 1e-3, checkpoint_seconds=1e9, stop_at=stop_at)

    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = train_eye(tmp_path / "whole", settings(), 2, CPU, 0, widths=(16, 16, 16))
    train_eye(tmp_path / "parts", settings(3), 2, CPU, 0, widths=(16, 16, 16))
    resumed = train_eye(tmp_path / "parts", settings(), 2, CPU, 0, widths=(16, 16, 16))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    found = eye_accuracy(whole, 4, 0)
    assert set(found) == {"one", "two"} and found["two"].n == 4


def test_an_eye_begins_with_the_one_of_the_model_that_a_recipe_starts_with(tmp_path: Path) -> None:
    torch.manual_seed(4)
    known = Eye(TINY_WIDTHS).eval()
    save_eye(known, tmp_path / "judge" / EYE_FILE)
    found = find_eye(tmp_path, TINY_WIDTHS)
    assert found is not None and find_eye(tmp_path, (16, 16, 32)) is None
    assert find_eye(None, TINY_WIDTHS) is None and find_eye(tmp_path / "judge", TINY_WIDTHS) is None
    settings = LoopSettings(Budget(steps=1), 1e-9)
    trained = train_eye(tmp_path, settings, 2, CPU, 0, widths=TINY_WIDTHS, known=found)
    for one, other in zip(trained.parameters(), known.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_a_recipe_tells_a_folder_of_the_repository_from_its_root(tmp_path: Path) -> None:
    within = ROOT / "models" / "primer"
    assert told_from_root(within) == "models/primer" and told_from_root(tmp_path) == str(tmp_path.resolve())
    for folder in (within, tmp_path):
        recipe = Recipe(Budget(steps=1), Budget(steps=1), start=told_from_root(folder))
        assert recipe.begins_with is not None and recipe.begins_with.resolve() == folder.resolve()
    assert Recipe(Budget(steps=1), Budget(steps=1)).begins_with is None


def test_fresh_scenes_of_the_judge_hold_one_thing_or_two() -> None:
    assert {len(scene.things) for scene in draw_scenes(30, 1, 0.0)} == {1}
    assert {len(scene.things) for scene in draw_scenes(30, 1, 1.0)} == {2}


def test_pictures_of_one_caption_are_all_right_for_it() -> None:
    ids = torch.tensor([[1, 2], [1, 2], [3, 4]])
    perfect = 30 * torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert contrast(perfect, ids) == pytest.approx(2 / 3 * 0.6931, abs=1e-3)
    assert contrast(perfect.roll(1, 0), ids) > 5


def test_prompts_ask_for_what_they_say() -> None:
    sets = prompt_sets(12, 3)
    assert {len(asked) for asked in sets.values()} == {12}
    for asked in (a for group in sets.values() for a in group):
        assert set(asked.prompt.split()) <= set(WORDS)
        for wanted in asked.wanted:
            assert wanted.noun in asked.prompt
            assert wanted.colour is None or f"{wanted.colour} {wanted.noun}" in asked.prompt
    assert all(len(a.wanted) == 2 for a in sets["two animals"])
    pair = sets["two animals"][:1]
    both = [tuple(Sighting(w.noun, None, 1.0, 1.0) for w in pair[0].wanted)]
    assert rates(pair, both)["exact"].rate == 1 and rates(pair, [both[0][:1]])["neglected"].rate == 1


def test_a_card_tells_the_trainings_that_led_to_a_model(tmp_path: Path) -> None:
    assert earlier_runs(tmp_path) == []
    card = {"recipe": {}, "runs": {"denoiser": {"steps": 7000}}}
    (tmp_path / "card.json").write_text(json.dumps(card), encoding="utf-8")
    assert earlier_runs(tmp_path) == [{"world": "shapes", "steps": 7000}]
    second = {"recipe": {"world": "primer"}, "runs": {"denoiser": {"steps": 9}}, "before": earlier_runs(tmp_path)}
    (tmp_path / "card.json").write_text(json.dumps(second), encoding="utf-8")
    assert earlier_runs(tmp_path) == [{"world": "shapes", "steps": 7000}, {"world": "primer", "steps": 9}]
    assert steps_before(tmp_path) == 7009 and steps_before(tmp_path / "none") == steps_before(None) == 0


@pytest.mark.slow
def test_one_command_makes_everything(tmp_path: Path) -> None:
    command = ["--world", "book", "--out", str(tmp_path), "--quick", "--device", "cpu", "--steps-vae", "2"]
    made = CliRunner().invoke(app, [*command, "--steps-unet", "2", "--batch-unet", "2", "--pictures", "1"])
    assert made.exit_code == 0, made.output
    figures = json.loads((tmp_path / "model" / "evaluation.json").read_text(encoding="utf-8"))
    assert set(figures["judge"]) == {"drawings", "after a VAE round trip"}
    assert figures["rates"]["two animals"]["right"]["n"] == 1
    assert (tmp_path / "compvis").exists()
    assert (tmp_path / "model" / "judge" / EYE_FILE).exists() and (tmp_path / "model" / "samples.png").exists()
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "two animals" in card and "CC-BY-4.0" in card

    clip, processor = CLIPModel.from_pretrained(tmp_path / "scorer"), CLIPProcessor.from_pretrained(tmp_path / "scorer")
    given = processor(text=["a cat", "a dog"], images=Image.new("RGB", (128, 128)), return_tensors="pt", padding=True)
    with torch.no_grad():
        assert clip(**given).logits_per_image.shape == (1, 2)


def test_what_cannot_be_made_alone_is_refused(tmp_path: Path) -> None:
    asked = CliRunner().invoke(app, ["--out", str(tmp_path / "new"), "--only", "judge"])
    assert asked.exit_code == 2
    assert not (tmp_path / "new").exists()


def test_an_eye_is_read_as_it_was_written(tmp_path: Path) -> None:
    torch.manual_seed(3)
    eye = Eye(TINY_WIDTHS).eval()
    save_eye(eye, tmp_path / "judge" / EYE_FILE)
    again = load_eye(tmp_path / "judge" / EYE_FILE)
    pictures = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        for one, other in zip(eye(pictures), again(pictures), strict=True):
            assert torch.allclose(one, other, atol=0.02)


@pytest.mark.parametrize(("more", "told"), [((), "not a model's folder"), (("--from-chance",), "exclude each other")])
def test_a_beginning_that_is_none_is_refused(tmp_path: Path, more: tuple[str, ...], told: str) -> None:
    command = ["--world", "book", "--out", str(tmp_path / "new"), "--start", str(tmp_path), *more]
    asked = CliRunner().invoke(app, command)
    assert asked.exit_code == 2 and told in asked.output and len(asked.output.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_scorer_is_right_by_half_that_knows_nothing_and_fully_that_knows_all() -> None:
    tokenizer = build_tokenizer(0, WORLDS["book"])
    torch.manual_seed(0)
    blind = make_clip(tokenizer, 128, width=32, layers=1, projection=32).eval()
    found = scorer_accuracy(blind, tokenizer, PRIMER, 64, seed=1)
    assert set(found) == {"noun", "colour"}
    assert all(0.25 < each.rate < 0.75 and each.n == 64 for each in found.values())
    assert scorer_accuracy(blind, tokenizer, PRIMER, 64, seed=1) == found


def test_one_word_of_the_wrong_caption_is_wrong() -> None:
    draw = random.Random(3)
    for scene in draw_scenes(40, 5, 1.0, PRIMER):
        for name, change in (("noun", other_noun), ("colour", other_colour)):
            wrong = change(scene, PRIMER, draw)
            if name == "colour" and all(thing.colour is None for thing in scene.things):
                assert wrong is None
                continue
            assert wrong is not None
            pairs = zip(scene.things, wrong.things, strict=True)
            changed = [(getattr(a, name), getattr(b, name)) for a, b in pairs if a != b]
            assert len(changed) == 1 and changed[0][0] != changed[0][1]
            assert len({thing.noun for thing in wrong.things}) == len(wrong.things)
