"""The trainings on the book world, at tiny size."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.assemble import make_pipeline, save_pipeline
from training.book_card import sample_prompts
from training.denoiser import make_denoiser
from training.grounding import BEHIND, FIRST_OBJECT, NOBODY, SECOND_OBJECT
from training.latent import fit_linear_latent
from training.loop import Budget, reduced_precision
from training.networks import BOOK, TINY, TINY_BOOK, make_text_encoder, make_unet, make_vae
from training.stages import Recipe, export, get_denoiser, get_tokenizer, get_vae, load_model, open_workshop
from training.start import begin_with
from training.tokenizer import CaptionTokens, build_tokenizer
from training.vae import fit_latent
from training.worlds import NOTHING, WORLDS
from world.book import captions
from world.book.contents import PRIMER, WHOLE
from world.book.scenes import sample_scene
from world.book.vocabulary import ANIMALS

CPU = torch.device("cpu")
BOOK_WORLD = WORLDS["book"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_sample_is_of_one_piece_and_of_its_seed(name: str) -> None:
    world = WORLDS[name]
    sample, again = (world.sample(6, seeded(1), CPU) for _ in range(2))
    assert sample.pictures.shape == (6, 3, world.size, world.size)
    assert sample.regions.shape == (6, 3, world.size, world.size)
    assert sample.words.shape == sample.owners.shape and sample.held_out.shape == (6,)
    assert sample.words.max() < len(world.words)
    assert torch.equal(sample.pictures, again.pictures) and torch.equal(sample.words, again.words)
    assert not torch.equal(sample.pictures, world.sample(6, seeded(2), CPU).pictures)
    assert set(sample.owners.unique().tolist()) <= {FIRST_OBJECT, SECOND_OBJECT, BEHIND, NOBODY}


def test_owners_mean_the_same_in_the_world_and_in_the_training() -> None:
    world = (captions.FIRST, captions.SECOND, captions.BEHIND, captions.NOBODY)
    assert world == (FIRST_OBJECT, SECOND_OBJECT, BEHIND, NOBODY)


def test_two_things_come_later() -> None:
    shares = [BOOK_WORLD.double_share(step) for step in (0, 1000, 2000, 100_000)]
    assert shares[0] < shares[1] < shares[2] == shares[3] == 0.6


def test_each_word_of_the_captions_is_one_token() -> None:
    tokenizer = build_tokenizer(0, BOOK_WORLD)
    tokens = CaptionTokens(tokenizer, CPU, BOOK_WORLD.words)
    sample = BOOK_WORLD.sample(20, seeded(3), CPU)
    ids = tokens(sample.words)
    for row in range(20):
        text = " ".join(BOOK_WORLD.words[n] for n in sample.words[row].tolist() if n != NOTHING)
        padded = tokenizer(text, padding="max_length", max_length=77).input_ids
        assert ids[row].tolist() == padded
    assert all(len(tokenizer(word, add_special_tokens=False).input_ids) == 1 for word in BOOK_WORLD.words)


def test_linear_latents_are_white_and_the_stroke_says_what_the_means_do_not() -> None:
    latent = fit_linear_latent(BOOK_WORLD, 0, CPU)
    pictures = 2 * BOOK_WORLD.sample(64, seeded(4), CPU).pictures - 1
    values = latent(pictures).movedim(1, -1).reshape(-1, 4)
    assert values.mean(0).abs().max() < 0.2
    assert torch.allclose(torch.cov(values.T), torch.eye(4), atol=0.3)
    assert latent.stroke.norm() == pytest.approx(1.0, abs=1e-4)
    flat = torch.full((1, 3, 16, 16), 0.4)
    assert latent(flat)[:, 3].abs().max() < 1e-4
    edge = torch.where(torch.arange(8)[:, None] + torch.arange(8) < 8, -1.0, 1.0).expand(1, 3, 8, 8)
    assert latent(edge)[0, 3].abs().item() > 2


def test_everything_from_nothing_to_a_pipeline_that_draws_128(tmp_path: Path) -> None:
    recipe = Recipe(Budget(steps=2), Budget(steps=2), world="book", vae_batch=2, denoiser_batch=2, sizes=TINY_BOOK)
    shop = open_workshop(tmp_path, CPU, recipe)
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    tokenizer, vae = get_tokenizer(shop), get_vae(shop)
    get_denoiser(shop, tokenizer)
    export(shop, vae, tokenizer, 100)
    pipeline = load_model(shop.model, CPU)
    assert pipeline.vae_scale_factor == 8
    image = pipeline("a cat and a dog", num_inference_steps=2, output_type="pt").images
    assert image.shape == (1, 3, 128, 128)


def test_the_book_model_fits() -> None:
    text = make_text_encoder(build_tokenizer(0, BOOK_WORLD), BOOK)
    parts = (make_unet(BOOK), make_vae(BOOK), text)
    assert sum(p.numel() for part in parts for p in part.parameters()) * 2 < 40e6


def test_reduced_precision_follows_the_processor() -> None:
    with reduced_precision(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    able = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert product.dtype == (torch.bfloat16 if able else torch.float32)


def test_a_training_begins_with_the_weights_of_a_model(tmp_path: Path) -> None:
    """Every weight that has the same shape, and the embedding of every token that both know, are the model's."""
    known = build_tokenizer(0, WORLDS["shapes"])
    first = make_denoiser(known, TINY)
    save_pipeline(make_pipeline(make_vae(TINY), first, known), known, tmp_path / "known")
    tokenizer = build_tokenizer(0, BOOK_WORLD)
    model = make_denoiser(tokenizer, TINY_BOOK)
    share = begin_with(model, tokenizer, tmp_path / "known")
    assert 0.9 < share < 1
    for new, old in zip(model.unet.parameters(), first.unet.parameters(), strict=True):
        assert torch.equal(new, old.half().float())
    rows, before = (d.text_encoder.get_input_embeddings().weight for d in (model, first))
    both = set(tokenizer.get_vocab()) & set(known.get_vocab())
    assert {"red</w>", "blue</w>"} <= both and "cat</w>" not in known.get_vocab()
    for token in both:
        row = rows[tokenizer.get_vocab()[token]]
        assert torch.equal(row, before[known.get_vocab()[token]].half().float())


def test_a_vae_of_the_same_shape_is_not_trained_again(tmp_path: Path) -> None:
    recipe = Recipe(Budget(steps=2), Budget(steps=2), world="book", vae_batch=2, denoiser_batch=2, sizes=TINY_BOOK)
    shop = open_workshop(tmp_path / "first", CPU, recipe)
    tokenizer, vae = get_tokenizer(shop), get_vae(shop)
    get_denoiser(shop, tokenizer)
    export(shop, vae, tokenizer, 100)
    again = get_vae(open_workshop(tmp_path / "second", CPU, replace(recipe, start=str(shop.model))))
    assert not (tmp_path / "second" / "work" / "vae.ckpt").exists()
    for new, old in zip(again.parameters(), vae.parameters(), strict=True):
        assert torch.equal(new, old.half().float())
    asked = replace(recipe, start=str(shop.model), vae_goes_on=True, vae_rate=1e-9)
    trained = get_vae(open_workshop(tmp_path / "on", CPU, asked))
    assert (tmp_path / "on" / "work" / "vae.ckpt").exists()
    for new, old in zip(trained.parameters(), again.parameters(), strict=True):
        assert torch.allclose(new, old, atol=1e-6)
    other = open_workshop(
        tmp_path / "third", CPU, replace(recipe, start=str(shop.model), sizes=replace(TINY_BOOK, vae=(32, 32, 32, 64)))
    )
    get_vae(other)
    assert (tmp_path / "third" / "work" / "vae.ckpt").exists()


def test_a_part_of_the_book_has_the_latent_of_the_whole() -> None:
    """Else the denoiser of a primer would draw for another decoder than the one that it is saved with."""
    pictures = 2 * WORLDS["primer"].sample(4, seeded(4), CPU).pictures - 1
    part, whole = (fit_latent(WORLDS[name], CPU)(pictures) for name in ("primer", "book"))
    assert torch.equal(part, whole)
    own = fit_linear_latent(WORLDS["primer"], 0, CPU)(pictures)
    assert (own - whole).abs().max() > 0.1


def test_a_primer_shows_its_nouns_in_its_style() -> None:
    draw = random.Random(3)
    scenes = [sample_scene(draw, contents=PRIMER) for _ in range(400)]
    assert {thing.noun for scene in scenes for thing in scene.things} == set(PRIMER.nouns)
    assert {scene.style for scene in scenes} == set(PRIMER.style_names) == {"flat icon"}
    assert not any(t.colour for s in scenes for t in s.things if t.noun in ANIMALS)
    assert all(t.tilt == 0 for s in scenes for t in s.things)
    assert all("hat" not in p and "house" not in p for p in sample_prompts(replace(PRIMER, others=())))
    assert len(sample_prompts(PRIMER)) < len(sample_prompts(WHOLE))
