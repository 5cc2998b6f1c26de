from __future__ import annotations

import math
import random

import numpy as np
import pytest

from world.book.scenes import (
    FILLED,
    SIZE,
    Scene,
    Thing,
    clashes,
    pair_held_out,
    place_two,
    put_on,
    sample_scene,
)
from world.book.sprites import heads, mean_colours, read_sheets, recolour
from world.book.vocabulary import ANIMALS, COLOURS, CONCEPTS, NOUNS, OBJECTS, PALETTE, STYLES, WEARERS, WORN


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    draw = random.Random(0)
    return [sample_scene(draw) for _ in range(1500)]


def test_the_nouns_of_the_published_prompts_are_there_and_each_noun_once() -> None:
    assert len(ANIMALS) == len(OBJECTS) == 12
    assert len(set(NOUNS)) == len(NOUNS)
    assert {noun for nouns in CONCEPTS.values() for noun in nouns} <= set(NOUNS)
    assert len(CONCEPTS) == 10
    assert set(WORN) | set(WEARERS) <= set(NOUNS)


def test_every_noun_has_a_sprite_in_every_style() -> None:
    sheets = read_sheets()
    assert sheets.shape[:2] == (len(STYLES), len(NOUNS))
    assert (sheets[..., 3].mean((2, 3)) > 0.08).all()
    flat = sheets.reshape(len(STYLES), len(NOUNS), -1)
    for style in flat:
        assert len({sprite.tobytes() for sprite in style}) == len(NOUNS)


def test_recoloured_things_are_nearest_to_their_own_colour() -> None:
    palette = np.array(list(PALETTE.values()))
    wrong = 0
    for style in range(3):
        for number in range(len(COLOURS)):
            sprites = recolour(read_sheets()[style], COLOURS[number])
            weight = sprites[..., 3:]
            mean = (sprites[..., :3] * weight).sum((1, 2)) / weight.sum((1, 2))
            nearest = np.linalg.norm(mean[:, None] - palette, axis=-1).argmin(1)
            wrong += int((nearest != number).sum())
    assert wrong == 0


def test_recolouring_ink_leaves_the_paper_white() -> None:
    sprite = np.zeros((1, 2, 2, 4), np.float32)
    sprite[0, 0] = 1.0
    sprite[0, 1, :, 3] = 1.0
    painted = recolour(sprite, "red", ink=True)
    assert painted[0, 0, :, :3] == pytest.approx(1.0)
    assert painted[0, 1, 0, :3] == pytest.approx(PALETTE["red"])


def test_scenes_hold_one_or_two_different_things_that_lie_inside(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert len({thing.noun for thing in scene.things}) == len(scene.things)
        for thing in scene.things[: 1 if scene.worn else 2]:
            reach = 0.4 * thing.size
            assert reach <= thing.x <= SIZE - reach and reach <= thing.y <= SIZE - reach
    assert 0.4 < sum(len(scene.things) == 2 for scene in scenes) / len(scenes) < 0.6


def test_pairs_held_out_are_never_sampled_and_about_one_in_sixteen(scenes: list[Scene]) -> None:
    pairs = [tuple(t.noun for t in scene.things) for scene in scenes if len(scene.things) == 2]
    assert not any(pair_held_out(*pair) for pair in pairs)
    share = np.mean([pair_held_out(a, b) for a in NOUNS for b in NOUNS if a < b])
    assert 0.04 < share < 0.09
    assert pair_held_out("cat", "dog") == pair_held_out("dog", "cat")


def test_two_things_are_placed_apart() -> None:
    draw = random.Random(1)
    near = 0
    for _ in range(500):
        sizes = (draw.uniform(52, 70), draw.uniform(52, 70))
        near += math.dist(*place_two(draw, sizes)) < FILLED * sum(sizes)
    assert near < 50


def test_what_is_worn_sits_on_the_head_of_either_side() -> None:
    host = Thing("horse", size=90.0, y=80.0)
    across = heads()[0, NOUNS.index("horse"), 0]
    hat = put_on(host, "hat", None, "drawing")
    turned = put_on(Thing("horse", size=90.0, y=80.0, mirrored=True), "hat", None, "drawing")
    assert hat.x - host.x == pytest.approx((across - 0.5) * 90, abs=1e-3)
    assert turned.x - host.x == pytest.approx(host.x - hat.x, abs=1e-3)
    assert hat.y < put_on(host, "glasses", None, "drawing").y < host.y
    assert hat.size < host.size


def test_nothing_stands_before_its_own_colour(scenes: list[Scene]) -> None:
    assert clashes("drawing", "car", 1 + COLOURS.index("white"), "white")
    assert clashes("drawing", "hat", 1 + COLOURS.index("black"), "black")
    assert not clashes("sticker", "car", 1 + COLOURS.index("white"), "white")
    assert clashes("line drawing", "car", 0, "night")
    shown = [clashes(s.style, t.noun, t.colour_number, s.background) for s in scenes for t in s.things]
    assert not any(shown)


def test_relations_are_told_where_they_are_clear() -> None:
    def relation(x: float, y: float) -> str | None:
        return Scene((Thing("cat", x=x, y=y), Thing("dog"))).relation

    assert relation(20, 64) == "left of" and relation(100, 64) == "right of"
    assert relation(64, 20) == "above" and relation(64, 100) == "below"
    assert relation(20, 20) is None
    assert Scene((Thing("cat"),)).relation is None
    assert Scene((Thing("cat", x=20.0), Thing("hat")), worn=True).relation is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Thing("unicorn"), "noun: 'unicorn'"),
        (lambda: Thing("cat", "mauve"), "colour: 'mauve'"),
        (lambda: Scene(()), "things: a scene holds one or two, not 0"),
        (lambda: Scene((Thing("cat"),), style="fresco"), "style: 'fresco'"),
        (lambda: Scene((Thing("cat"),), background="moon"), "background: 'moon'"),
    ],
)
def test_what_is_not_there_is_refused(wrong: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        wrong()  # type: ignore[operator]  # a parameter of the test


def test_mean_colours_are_those_of_the_palette_where_asked() -> None:
    for number, colour in enumerate(COLOURS):
        mean = mean_colours()[0, NOUNS.index("car"), 1 + number]
        assert mean == pytest.approx(PALETTE[colour], abs=0.16)
