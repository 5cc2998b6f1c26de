from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer

from training.tokenizer import LENGTH, CaptionTokens, build_tokenizer, save_tokenizer
from world.shapes.captions import WORDS, Captions, describe, write_captions
from world.shapes.scenes import COLOURS, PATTERNS, RELATIONS, SHAPES, STYLES, TONES, Scene, SceneBatch, SceneObject
from world.shapes.scenes import sample_scenes as sample


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


@pytest.fixture(scope="module")
def written() -> tuple[SceneBatch, Captions]:
    generator = torch.Generator().manual_seed(3)
    scenes = sample(3000, generator)
    return scenes, write_captions(scenes, generator)


def test_captions_say_only_what_is_there(written: tuple[SceneBatch, Captions]) -> None:
    scenes, captions = written
    for row in range(len(captions)):
        scene, words = scenes.scene(row), captions.text(row).replace(",", " ,").split()
        assert words, "only the empty prompt is empty"
        fixed = [w for w in words if w in SHAPES]
        assert fixed == [o.shape for i, o in enumerate(scene.objects) if captions.names_shape[row, i]]
        colours = [o.colour for i, o in enumerate(scene.objects) if captions.names_colour[row, i]]
        assert [w for w in words if w in COLOURS] == colours
        styles = [o.style for i, o in enumerate(scene.objects) if captions.names_style[row, i]]
        assert [w for w in words if w in STYLES and w != "plain"] == styles
        assert [w for w in words if w in TONES] == ([scene.tone] if captions.names_tone[row] else [])
        assert [w for w in words if w in PATTERNS] == ([scene.pattern] if captions.names_pattern[row] else [])


def test_relations_hold(written: tuple[SceneBatch, Captions]) -> None:
    scenes, captions = written
    stated = (captions.relation >= 0).nonzero()[:, 0].tolist()
    assert len(stated) > 100
    for row in stated:
        relation = RELATIONS[int(captions.relation[row])]
        assert relation in captions.text(row)
        a, b = scenes.scene(row).objects
        truth = {"left of": a.x < b.x, "right of": a.x > b.x, "above": a.y < b.y, "below": a.y > b.y}
        assert truth[relation]


def test_articles_fit(written: tuple[SceneBatch, Captions]) -> None:
    for row in range(len(written[1])):
        words = written[1].text(row).split()
        for article, word in pairwise(words):
            if article in ("a", "an"):
                assert (article == "an") == (word[0] in "aeiou")


def test_held_out_captions_are_one_in_sixteen_and_depend_on_the_words_alone(
    written: tuple[SceneBatch, Captions],
) -> None:
    captions = written[1]
    held_out = captions.held_out()
    assert 0.04 < held_out.float().mean() < 0.09
    seen: dict[str, bool] = {}
    for row, value in enumerate(held_out.tolist()):
        assert seen.setdefault(captions.text(row), value) == value


def test_describe() -> None:
    pair = Scene((SceneObject("star", "orange", "outlined"), SceneObject("moon", "red")), "dark", "gradient")
    assert describe(pair) == "an outlined orange star and a red moon"
    assert describe(pair, relation="above") == "an outlined orange star above a red moon"
    assert describe(pair, background=True).endswith("a red moon on a dark gradient background")


def test_token_ids_by_table_are_what_the_tokenizer_makes(
    tokenizer: CLIPTokenizer, written: tuple[SceneBatch, Captions]
) -> None:
    captions = written[1]
    texts = [captions.text(row) for row in range(500)]
    wanted = tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids
    tokens = CaptionTokens(tokenizer, "cpu", WORDS)
    assert torch.equal(tokens(captions.words[:500]), wanted)
    empty = tokenizer([""], padding="max_length", max_length=LENGTH, return_tensors="pt").input_ids[0]
    dropped = tokens(captions.words[:2], torch.tensor([True, False]))
    assert torch.equal(dropped[0], empty)
    assert torch.equal(dropped[1], wanted[1])


def test_tokenizer_reads_anything_and_survives_saving(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    save_tokenizer(tokenizer, tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    older = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=LENGTH)
    texts = [
        "a red star",
        "Hello, World! 42% (dog:1.3) [cat] <x>",
        "naïve ünïcode ☃",
        "".join(map(chr, range(33, 127))),
    ]
    for text in texts:
        ids = tokenizer(text).input_ids
        assert again(text).input_ids == ids
        assert older(text).input_ids == ids
        assert ids.count(tokenizer.eos_token_id) == 1
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.lower().replace(" ", "")
    assert again.model_max_length == LENGTH
    assert again.pad_token == again.eos_token == "<|endoftext|>"
    assert len(tokenizer) <= 1000


def test_known_words_are_whole_and_others_in_pieces(tokenizer: CLIPTokenizer) -> None:
    for word in (*SHAPES, *COLOURS):
        assert len(tokenizer.tokenize(word)) == 1, word
    assert any(len(tokenizer.tokenize(word)) > 1 for word in WORDS)
    assert len(tokenizer.tokenize("elephant")) > 2
