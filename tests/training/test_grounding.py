from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training.grounding import (
    BEHIND,
    FIRST_OBJECT,
    NOBODY,
    SECOND_OBJECT,
    grounding_loss,
    watch,
)
from training.networks import TINY, make_unet
from training.tokenizer import CaptionTokens, build_tokenizer
from training.worlds import shapes_owners, shapes_regions
from world.shapes.captions import WORDS, write_captions
from world.shapes.scenes import COLOURS, PATTERNS, SHAPES, STYLES, TONES, sample_scenes


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_token_knows_the_slot_of_its_word() -> None:
    tokenizer = build_tokenizer()
    captions = write_captions(sample_scenes(300, seeded()), seeded(1))
    tokens = CaptionTokens(tokenizer, "cpu", WORDS)
    ids, slots = tokens(captions.words), tokens.slots(captions.words)
    assert ids.shape == slots.shape == (300, 77)
    for row in range(300):
        for slot in captions.words[row].ge(0).nonzero()[:, 0].tolist():
            pieces = ids[row, slots[row] == slot]
            assert tokenizer.decode(pieces).strip() == WORDS[captions.words[row, slot]]
    assert (slots[:, 0] == -1).all() and (slots[ids == tokenizer.eos_token_id] == -1).all()
    assert (tokens.slots(captions.words, torch.ones(300, dtype=torch.bool)) == -1).all()


def test_words_are_owned_by_what_they_describe() -> None:
    scenes = sample_scenes(2000, seeded(2))
    words, owners = write_captions(scenes, seeded(3)).words, shapes_owners()

    def said(row: int, owner: int) -> set[str]:
        return {WORDS[n] for n in words[row, owners == owner].tolist() if n >= 0}

    for row in range(len(scenes)):
        scene = scenes.scene(row)
        for owner, one in zip((FIRST_OBJECT, SECOND_OBJECT), scene.objects, strict=False):
            assert said(row, owner) <= {one.shape, one.colour, one.style, "shape", "object"}
        if len(scene.objects) == 1:
            assert said(row, SECOND_OBJECT) == set()
        assert said(row, BEHIND) <= {scene.tone, scene.pattern, "background"}
        assert not said(row, NOBODY) & {*SHAPES, *COLOURS, *STYLES, *TONES, *PATTERNS}


def test_regions_are_where_the_objects_are() -> None:
    scenes = sample_scenes(200, seeded(4))
    found = shapes_regions(scenes)
    assert torch.equal(found.sum(1), torch.ones(200, 64, 64))
    for row in range(200):
        scene = scenes.scene(row)
        for owner, one in enumerate(scene.objects):
            assert found[row, owner, int(one.y), int(one.x)] == 1
            assert found[row, owner].sum() == pytest.approx(math.pi * one.radius**2, rel=0.03)
        if len(scene.objects) == 1:
            assert found[row, SECOND_OBJECT].sum() == 0


# A caption of five tokens: the start, two words of the first object, one of the second, one of the background.
OWNERS = torch.tensor([[NOBODY, FIRST_OBJECT, FIRST_OBJECT, SECOND_OBJECT, BEHIND]])


def quarters() -> Tensor:
    """Two by two places: the first object, the second, and the background twice."""
    found = torch.zeros(1, 3, 2, 2)
    found[0, FIRST_OBJECT, 0, 0] = found[0, SECOND_OBJECT, 0, 1] = 1
    found[0, BEHIND, 1] = 1
    return found


def test_the_loss_by_hand() -> None:
    attention = torch.full((1, 4, 5), 0.2)
    # Among four owned words of equal weight each is chosen with probability 1/4, wherever and by whomever.
    assert grounding_loss(attention, OWNERS, quarters()).item() == pytest.approx(math.log(4), abs=1e-4)
    right = torch.tensor([[[0.5, 0.25, 0.25, 0, 0], [0.5, 0, 0, 0.5, 0], [0.9, 0, 0, 0, 0.1], [0.9, 0, 0, 0, 0.1]]])
    # All that is left is that two words share the first object: log 2 for one owner of three.
    assert grounding_loss(right, OWNERS, quarters()).item() == pytest.approx(math.log(2) / 3, abs=1e-3)
    crossed = right[:, [1, 0, 2, 3]]
    assert grounding_loss(crossed, OWNERS, quarters()).item() > 5


def test_only_owners_that_are_there_and_named_count() -> None:
    attention = torch.rand(1, 4, 5, generator=seeded()).softmax(-1)
    nameless = torch.where(OWNERS == BEHIND, NOBODY, OWNERS)
    area = quarters()
    elsewhere = attention.clone()
    elsewhere[:, 2:] = elsewhere[:, 2:].flip(-1)
    assert torch.equal(grounding_loss(attention, nameless, area), grounding_loss(elsewhere, nameless, area))
    assert grounding_loss(attention, torch.full_like(OWNERS, NOBODY), area).item() == 0


def test_a_step_down_the_loss_moves_attention_to_the_words_of_the_place() -> None:
    scores = torch.zeros(1, 4, 5, requires_grad=True)
    grounding_loss(scores.softmax(-1), OWNERS, quarters()).backward()
    assert scores.grad is not None
    down = -scores.grad[0]
    assert down[0].argmax() in (1, 2) and down[1].argmax() == 3 and down[2].argmax() == down[3].argmax() == 4
    assert down[:, 0].abs().max() < 1e-6


def test_watching_changes_neither_the_prediction_nor_the_weights() -> None:
    torch.manual_seed(0)
    unet = make_unet(TINY).eval()
    given = torch.randn(2, 4, 16, 16), torch.tensor([10, 900]), torch.randn(2, 77, TINY.context)
    with torch.no_grad():
        before = unet(*given).sample
        keys = list(unet.state_dict())
        maps = watch(unet)
        after = unet(*given).sample
    assert torch.allclose(before, after, atol=1e-5)
    assert list(unet.state_dict()) == keys
    taken = [one.take() for one in maps]
    assert sorted({t.shape[1] for t in taken}) == [16, 64, 256]
    assert all(torch.allclose(t.sum(-1), torch.ones(2, t.shape[1]), atol=1e-5) for t in taken)
    with pytest.raises(RuntimeError, match="no map"):
        maps[0].take()
