from __future__ import annotations

import random

import pytest
import torch

from world.book.backgrounds import PLAIN, SCENERY, level_of, render_backgrounds
from world.book.captions import BEHIND, FIRST, NOBODY, SECOND, WORDS, Caption, write_caption
from world.book.render import draw_thing, render
from world.book.scenes import SIZE, Scene, Thing, put_on, sample_scene
from world.book.vocabulary import BACKGROUNDS, PALETTE


@pytest.fixture(scope="module")
def written() -> list[tuple[Scene, Caption]]:
    draw = random.Random(2)
    scenes = [sample_scene(draw) for _ in range(3000)]
    return [(scene, write_caption(scene, draw)) for scene in scenes]


def test_captions_are_true_and_their_words_belong_to_what_they_name(written: list[tuple[Scene, Caption]]) -> None:
    for scene, caption in written:
        assert len(caption.words) == len(caption.owners)
        assert set(caption.words) <= set(WORDS)
        for owner, thing in zip((FIRST, SECOND), scene.things, strict=False):
            said = " ".join(w for w, o in zip(caption.words, caption.owners, strict=True) if o == owner)
            assert said in {thing.noun, f"{thing.colour} {thing.noun}"}
        if len(scene.things) == 1:
            assert SECOND not in caption.owners
        behind = {w for w, o in zip(caption.words, caption.owners, strict=True) if o == BEHIND}
        assert not behind or scene.background in behind
        nobody = {w for w, o in zip(caption.words, caption.owners, strict=True) if o == NOBODY}
        assert not nobody & {*PALETTE, *BACKGROUNDS}
        for relation in ("left", "right", "above", "below"):
            assert relation not in caption.words or (scene.relation or "").startswith(relation)
        assert "wearing" not in caption.words or scene.worn


@pytest.mark.parametrize(
    "form", ["a cat", "a cat and a dog", "a frog and a red car", "a lion with a crown", "a bear wearing a hat"]
)
def test_captions_take_the_forms_of_the_published_prompts(form: str) -> None:
    draw = random.Random(0)
    nouns = [w for w in form.split() if w in {"cat", "dog", "frog", "car", "lion", "crown", "bear", "hat"}]
    first = Thing(nouns[0], y=76.0)
    worn = "with" in form or "wearing" in form
    rest = (
        [put_on(first, nouns[1], None, "drawing")]
        if worn
        else [Thing(n, "red" if n == "car" else None, 20.0) for n in nouns[1:]]
    )
    scene = Scene((first, *rest), worn=worn)
    assert form in {write_caption(scene, draw).text for _ in range(600)}


def test_one_caption_in_sixteen_is_held_out(written: list[tuple[Scene, Caption]]) -> None:
    distinct = {caption.text: caption.held_out for _, caption in written}
    assert 0.03 < sum(distinct.values()) / len(distinct) < 0.1


def test_pictures_show_their_things_and_cover_tells_where() -> None:
    scene = Scene((Thing("car", "red", 36.0, 64.0, 60.0), Thing("apple", "blue", 94.0, 64.0, 60.0)), "flat icon")
    drawn = render([scene, Scene((Thing("cat"),), background="night", seed=3)])
    assert drawn.pictures.shape == (2, 3, SIZE, SIZE) and drawn.pictures.min() >= 0 and drawn.pictures.max() <= 1
    regions = drawn.regions()
    assert torch.allclose(regions.sum(1), torch.ones(2, SIZE, SIZE))
    for place, colour in enumerate(("red", "blue")):
        inside = drawn.pictures[0][:, drawn.cover[0, place] > 0.99].mean(1)
        assert torch.allclose(inside, torch.tensor(PALETTE[colour]), atol=0.16)
    behind = drawn.pictures[0][:, regions[0, 2] > 0.99]
    assert behind.std(1).max() < 1e-3
    assert drawn.cover[1, 1].sum() == 0


def test_the_second_thing_hides_the_first() -> None:
    below = Thing("bear", size=90.0, y=76.0)
    scene = Scene((below, put_on(below, "hat", None, "drawing")), worn=True)
    both, alone = render([scene]).cover[0], render([Scene((below,))]).cover[0]
    assert both[0].sum() < alone[0].sum()
    assert (both.sum(0) <= 1 + 1e-5).all()


def test_a_mirrored_thing_is_the_mirror_image() -> None:
    plain, rows, columns = draw_thing(Thing("horse", size=80.0), "drawing")
    mirrored, *_ = draw_thing(Thing("horse", size=80.0, mirrored=True), "drawing")
    whole, turned = torch.zeros(4, SIZE, SIZE), torch.zeros(4, SIZE, SIZE)
    whole[:, rows, columns], turned[:, rows, columns] = plain, mirrored
    assert torch.allclose(whole.flip(2), turned, atol=1e-3)
    assert not torch.allclose(whole, turned, atol=0.1)


def test_a_thing_over_the_edge_is_cut_off() -> None:
    layer, rows, columns = draw_thing(Thing("car", x=4.0, y=124.0, size=60.0), "drawing")
    assert layer.shape == (4, rows.stop - rows.start, columns.stop - columns.start)
    assert columns.start == 0 and rows.stop == SIZE


def test_backgrounds_look_like_what_they_are_called() -> None:
    asked = [(name, seed) for name in BACKGROUNDS for seed in range(3)]
    pictures = render_backgrounds(asked, 32)
    assert torch.equal(pictures, render_backgrounds(asked, 32))
    for (name, _), picture in zip(asked, pictures, strict=True):
        assert torch.allclose(picture[:, -1].median(1).values, torch.tensor(level_of(name)), atol=0.06)
    assert set(PLAIN) | set(SCENERY) == set(BACKGROUNDS)
    assert not torch.equal(*render_backgrounds([("sky", 1), ("sky", 2)], 32))
