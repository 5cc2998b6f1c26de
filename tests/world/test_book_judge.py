from __future__ import annotations

import random

import pytest
import torch

from world.book.eye import CELL, CELLS, Eye, eye_loss, read_maps, targets
from world.book.judge import Sighting, Wanted, agrees, judge, natural_colours, truth
from world.book.scenes import SIZE, Scene, Thing, sample_scene
from world.book.vocabulary import NOUNS

CAT, RED_CAR = Sighting("cat", None, 30.0, 64.0), Sighting("car", "red", 96.0, 64.0)


def test_a_picture_is_held_against_what_was_asked() -> None:
    right = judge((CAT, RED_CAR), (Wanted("cat"), Wanted("car", "red")))
    assert right.nouns and right.right and right.exact and not right.leaked
    assert (right.met, right.neglected) == (2, ())

    missing = judge((CAT,), (Wanted("cat"), Wanted("dog")))
    assert not missing.nouns and not missing.right
    assert (missing.met, missing.neglected) == (1, ("dog",))

    more = judge((CAT, RED_CAR), (Wanted("cat"),))
    assert more.right and not more.exact


def test_a_colour_on_the_wrong_thing_is_a_leak() -> None:
    wanted = (Wanted("car", "blue"), Wanted("chair", "red"))
    leak = judge((RED_CAR, Sighting("chair", "red", 20.0, 20.0)), wanted)
    assert leak.nouns and leak.leaked and not leak.right
    assert not judge((Sighting("car", "green", 1.0, 1.0), Sighting("chair", "red", 9.0, 9.0)), wanted).leaked


def test_a_thing_as_it_is_may_have_the_colour_that_was_asked() -> None:
    assert "red" in natural_colours("apple") and "green" in natural_colours("frog")
    assert Wanted("apple", "red").met_by(Sighting("apple", None, 0.0, 0.0))
    assert not Wanted("apple", "blue").met_by(Sighting("apple", None, 0.0, 0.0))
    assert not Wanted("apple", "red").met_by(Sighting("apple", "blue", 0.0, 0.0))


@pytest.mark.parametrize(("noun", "colour", "said"), [("unicorn", None, "noun"), ("cat", "mauve", "colour")])
def test_what_is_not_known_cannot_be_wanted(noun: str, colour: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Wanted(noun, colour)


def perfect_maps(scenes: list[Scene]) -> tuple[torch.Tensor, torch.Tensor]:
    bumps, numbers = targets(scenes)
    colours = torch.nn.functional.one_hot(numbers.clamp(min=0), 12).movedim(-1, 2).float()
    return torch.logit(bumps.clamp(1e-4, 1 - 1e-4)), colours


def test_what_the_targets_say_is_read_back() -> None:
    draw = random.Random(0)
    scenes = [sample_scene(draw, 0.7, all_pairs=True) for _ in range(300)]
    readings = read_maps(*perfect_maps(scenes))
    assert all(agrees(seen, scene) for seen, scene in zip(readings, scenes, strict=True))
    assert all(agrees(truth(scene), scene) for scene in scenes)
    shifted = [*readings[1:], readings[0]]
    assert sum(agrees(seen, scene) for seen, scene in zip(shifted, scenes, strict=True)) < 10


def test_the_loss_is_least_where_the_maps_are_right() -> None:
    scene = Scene((Thing("cat", "red", 40.0, 70.0),))
    bumps, numbers = targets([scene])
    assert bumps[0, NOUNS.index("cat"), int(70 / CELL), int(40 / CELL)] == 1
    assert (numbers >= 0).sum() == 1
    centres, colours = perfect_maps([scene])
    right = eye_loss(centres, 20 * colours, bumps, numbers)
    assert right < 0.1
    assert eye_loss(centres.roll(1, 1), 20 * colours, bumps, numbers) > right + 1
    assert eye_loss(centres, 20 * colours.roll(1, 2), bumps, numbers) > right + 1


def test_an_untrained_eye_sees_nothing() -> None:
    torch.manual_seed(0)
    eye = Eye((16, 16, 16)).eval()
    centres, colours = eye(torch.rand(2, 3, SIZE, SIZE))
    assert centres.shape == (2, len(NOUNS), CELLS, CELLS) and colours.shape == (2, 2, 12, CELLS, CELLS)
    assert eye.read(torch.rand(2, 3, SIZE, SIZE)) == [(), ()]
