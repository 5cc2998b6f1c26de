"""Scorers on tiny random models of the true architecture, and their formulas on cases worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import (
    CLIPModel,
    CLIPProcessor,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from benchmarks.alignment.bench import Question
from benchmarks.alignment.prompts import Item, Prompt
from benchmarks.alignment.scoring import Judge
from benchmarks.scorers.blip import OPENING, BlipCaptioner, BlipScorer
from benchmarks.scorers.clip import ClipEncoder, ClipScorer, edit_accuracy
from benchmarks.scorers.dino import DinoStructure, structure_distance
from benchmarks.scorers.loading import ScorerError, as_images, load
from benchmarks.scorers.templates import TEMPLATES, filled, halves
from cli.bench_scorers import checked_scorers, eye_beside, scorer_beside, scorers_named
from tests.benchmarks.conftest import BLIP_WORDS

SIZE = 32


@pytest.fixture(scope="session")
def encoder(clip_folder: Path) -> ClipEncoder:
    return ClipEncoder(str(clip_folder))


@pytest.fixture(scope="session")
def dino(tmp_path_factory: pytest.TempPathFactory) -> DinoStructure:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("dino")
    config = ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=16,
    )
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return DinoStructure(str(folder))


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def item(text: str) -> Item:
    return Item("x", Prompt(text), 0)


def test_there_are_the_published_templates() -> None:
    assert len(TEMPLATES) == len(set(TEMPLATES)) == 80
    assert all(text.count("{}") == 1 for text in TEMPLATES)
    assert {"itap of my {}.", "a origami {}.", "the {} in a video game.", "a photo of the hard to see {}."} <= set(
        TEMPLATES
    )


def test_articles_are_repaired_as_published() -> None:
    texts = filled("a cat")
    assert "a photo of a cat." in texts and "the plastic a cat." in texts
    assert not any("a a" in text or "the a " in text for text in texts)
    # After "the" the published replacement also eats the article of "a apple"; "a elephant" keeps its own.
    assert filled("a apple")[:2] == ["a bad photo of a apple.", "a bad photo of apple."]
    assert filled("a elephant")[:2] == ["a bad photo of a elephant."] * 2


def test_halves_of_prompts() -> None:
    assert halves("a cat and a red car") == ("a cat", "a red car")
    assert halves("a cat with a bow") == ("a cat", "a bow")
    assert halves("a cat with a bow and a car") == ("a cat with a bow", "a car")
    assert halves("a cat") is None


def test_described_is_the_mean_of_unit_vectors(encoder: ClipEncoder) -> None:
    vectors = torch.stack([encoder.texts([text])[0] for text in filled("a red circle")])
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(80))
    mean = vectors.mean(0)
    torch.testing.assert_close(encoder.described("a red circle"), mean / mean.norm())


def test_a_clip_of_few_words_is_given_the_text_alone(clip_folder: Path, encoder: ClipEncoder) -> None:
    alone = ClipEncoder(str(clip_folder), templated=False)
    torch.testing.assert_close(alone.described("a red circle"), encoder.texts(["a red circle"])[0])
    assert not torch.allclose(alone.described("a red circle"), encoder.described("a red circle"))


def test_a_models_own_clip_is_asked_unless_another_is_named(clip_folder: Path, tmp_path: Path) -> None:
    assert scorer_beside(str(tmp_path)) is None
    question = Question(("animal-animal",), judged=True)
    eye = eye_beside("primer")
    assert checked_scorers([], question, eye, None) == ["judge"]
    (tmp_path / "scorer").symlink_to(clip_folder)
    own = scorer_beside(str(tmp_path))
    assert checked_scorers([], question, eye, own) == ["judge", "clip"]
    assert checked_scorers([], Question(("three",)), None, own) == ["judge", "clip"]
    assert checked_scorers(["judge"], question, eye, own) == ["judge"]

    def described(clip: str | None, own: Path | None) -> torch.Tensor:
        (scorer,) = scorers_named(["clip"], clip, None, "cpu", Judge, own)
        assert isinstance(scorer, ClipScorer)
        return scorer.encoder.described("a red circle")

    alone = ClipEncoder(str(clip_folder), templated=False).described("a red circle")
    torch.testing.assert_close(described(None, own), alone)
    torch.testing.assert_close(
        described(str(clip_folder), own), ClipEncoder(str(clip_folder)).described("a red circle")
    )


def test_vectors_are_the_models_own(encoder: ClipEncoder, pictures: torch.Tensor) -> None:
    given = encoder._processor(text=["a red circle"], images=as_images(pictures), return_tensors="pt")
    with torch.no_grad():
        output = encoder.model(**given)
    torch.testing.assert_close(encoder.pictures(pictures), output.image_embeds)
    torch.testing.assert_close(encoder.texts(["a red circle"]), output.text_embeds)


def test_padding_does_not_change_a_text(encoder: ClipEncoder) -> None:
    both = encoder.texts(["a red circle", "a photo of a red circle and a blue square on a dark background"])
    torch.testing.assert_close(both[0], encoder.texts(["a red circle"])[0])


def test_clip_scores_take_the_smaller_half(encoder: ClipEncoder, pictures: torch.Tensor) -> None:
    batch = [item("a red circle and a blue square"), item("a star with a moon"), item("a red circle and a blue square")]
    scores = ClipScorer(encoder).score(pictures, batch)
    seen = encoder.pictures(pictures)
    for row, (first, second) in enumerate((("a red circle", "a blue square"), ("a star", "a moon"))):
        each = [float(seen[row] @ encoder.described(text)) for text in (first, second)]
        assert scores["minimum"][row] == pytest.approx(min(each))
        assert scores["full"][row] == pytest.approx(float(seen[row] @ encoder.described(batch[row].prompt.text)))
    with pytest.raises(ScorerError, match="'a circle' cannot be split"):
        ClipScorer(encoder).score(pictures[:1], [item("a circle")])


class Chart(ClipEncoder):
    """Unit vectors in the plane at given angles, for results that are known."""

    def __init__(self, pictures: list[float], texts: dict[str, float]) -> None:
        self._pictures, self._texts = pictures, texts

    def pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[math.cos(a), math.sin(a)] for a in self._pictures])

    def texts(self, texts: object) -> torch.Tensor:
        assert isinstance(texts, list)
        return torch.tensor([[math.cos(self._texts[t]), math.sin(self._texts[t])] for t in texts])

    def described(self, text: str) -> torch.Tensor:
        return self.texts([text])[0]


def test_scores_on_a_chart() -> None:
    chart = Chart([0.0], {"a cat and a dog": 0.5, "a cat": math.pi / 3, "a dog": math.pi / 4})
    scores = ClipScorer(chart).score(torch.zeros(1), [item("a cat and a dog")])
    assert scores == {"full": [pytest.approx(math.cos(0.5))], "minimum": [pytest.approx(0.5)]}


def test_edit_accuracy_on_a_chart() -> None:
    chart = Chart([0.0, 0.4, 0.6, 1.0], {"a dog": 1.0, "a cat": 0.0})
    assert edit_accuracy(chart, torch.zeros(4), "a dog", "a cat") == [False, False, True, True]


def test_blip_captions_are_words_without_the_opening(blip_folder: Path, pictures: torch.Tensor) -> None:
    captioner = BlipCaptioner(str(blip_folder))
    captions = captioner.captions(pictures)
    assert len(captions) == 3 and not any(caption.startswith(OPENING) for caption in captions)
    assert captions == captioner.captions(pictures)
    assert captions[0] == captioner.captions(pictures[:1])[0]
    assert all(set(caption.split()) <= set(BLIP_WORDS) for caption in captions)


def test_caption_similarity_by_hand(blip_folder: Path, encoder: ClipEncoder, pictures: torch.Tensor) -> None:
    captioner = BlipCaptioner(str(blip_folder))
    scores = BlipScorer(captioner, encoder).score(pictures[:1], [item("a red circle")])
    caption = captioner.captions(pictures[:1])[0]
    assert scores["caption"][0] == pytest.approx(
        float(encoder.texts([caption])[0] @ encoder.described("a red circle")), abs=1e-6
    )


def test_structure_distance_by_hand() -> None:
    before = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    after = torch.tensor([[[3.0, 0.0], [1.0, 1.0]]])
    # Only the similarity of the two tokens differs: 0 before, cos 45 degrees after, in two of four places.
    assert structure_distance(before, after).tolist() == [pytest.approx(0.25)]
    assert structure_distance(before, 7 * before).tolist() == [pytest.approx(0.0)]
    assert structure_distance(torch.zeros(1, 2, 2), before).tolist() == [pytest.approx(0.5)]


def test_dino_looks_at_the_last_layers_keys(dino: DinoStructure, pictures: torch.Tensor) -> None:
    keys = dino.keys(pictures)
    # Two by two patches and the class token.
    assert keys.shape == (3, 5, 16)
    pixels = dino._processor(images=as_images(pictures), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        states = dino.model(pixel_values=pixels, output_hidden_states=True).hidden_states[-2]
        last = [m for m in dino.model.modules() if type(m).__name__ == "ViTLayer"][-1]
        torch.testing.assert_close(keys, dino._key(last.layernorm_before(states)))
    distances = dino.distances(pictures, pictures.flip(0))
    assert distances[1] == pytest.approx(0.0, abs=1e-12) and distances[0] > 0
    assert distances[0] == pytest.approx(distances[2], rel=1e-4)


def test_missing_models_are_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScorerError, match=f"the scorer '{tmp_path}' is not at hand: give a folder") as caught:
        load(str(tmp_path), CLIPModel, CLIPProcessor)
    assert "\n" not in str(caught.value)


def test_a_model_without_keys_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ScorerError, match="is not at hand"):
        DinoStructure(str(tmp_path))
