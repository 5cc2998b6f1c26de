from __future__ import annotations

import pytest
import torch

from training.evaluate import judge_accuracy
from world.shapes.judge import Wanted, judge
from world.shapes.render import render
from world.shapes.scenes import COLOURS, SHAPES, STYLES, Scene, SceneBatch, SceneObject
from world.shapes.sightings import Reading, Sighting, read


def draw(*scenes: Scene) -> torch.Tensor:
    return render(SceneBatch.from_scenes(list(scenes)))


def test_every_shape_colour_and_style_is_read() -> None:
    objects = [SceneObject(shape, colour, style) for shape in SHAPES for colour in COLOURS for style in STYLES]
    readings = read(draw(*(Scene((o,), "gray") for o in objects)))
    for wanted, reading in zip(objects, readings, strict=True):
        (seen,) = reading.objects
        assert (seen.shape, seen.colour, seen.style) == (wanted.shape, wanted.colour, wanted.style)
        assert (seen.x, seen.y) == pytest.approx((32, 32), abs=6)


def test_random_scenes_are_read_at_least_99_per_cent() -> None:
    for figure, rate in judge_accuracy(300, 11).items():
        assert rate.rate >= 0.99, figure


def test_pictures_of_another_size_and_batch_do_not_matter() -> None:
    pictures = draw(
        Scene((SceneObject("star", "red"),), "white"),
        Scene((SceneObject("ring", "blue", x=18, radius=12), SceneObject("heart", "pink", x=46, radius=12)), "black"),
    )
    alone = [read(p[None])[0] for p in pictures]
    assert read(pictures) == alone
    bigger = read(torch.nn.functional.interpolate(pictures, scale_factor=4, mode="nearest"))
    assert [[(o.shape, o.colour) for o in r.objects] for r in bigger] == [
        [(o.shape, o.colour) for o in r.objects] for r in alone
    ]


def test_objects_of_two_colours_that_touch_are_two() -> None:
    touching = Scene((SceneObject("square", "red", x=22, radius=13), SceneObject("circle", "blue", x=41, radius=11)))
    (reading,) = read(draw(touching))
    assert {(o.colour, o.shape) for o in reading.objects} == {("red", "square"), ("blue", "circle")}


def test_nothing_noise_and_colour_everywhere_are_survived() -> None:
    generator = torch.Generator().manual_seed(0)
    blank, haze = torch.full((1, 3, 64, 64), 0.5), torch.zeros(1, 3, 64, 64)
    haze[:, 0] = 0.8
    noise = torch.rand(1, 3, 64, 64, generator=generator)
    empty, chaos, full = read(torch.cat([blank, noise, haze]))
    assert empty.objects == ()
    assert (empty.tone, empty.pattern) == ("gray", "plain")
    assert not judge(chaos, [Wanted("star", "red")]).exact
    assert full.tone is None


def seen(colour: str, shape: str | None) -> Sighting:
    return Sighting(colour, shape, "plain", 0.9, 32.0, 32.0, 200)


CASE = (Wanted("star", "red"), Wanted("moon", "blue"))


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        # shapes, colours, binding, wrong binding, exact, neglected
        ([("red", "star"), ("blue", "moon")], (True, True, True, False, True, 0)),
        ([("blue", "star"), ("red", "moon")], (True, True, False, True, False, 0)),
        ([("red", "star")], (False, False, False, False, False, 1)),
        ([("red", "star"), ("blue", "star")], (False, True, False, True, False, 1)),
        ([("red", "star"), ("green", "moon")], (True, False, False, False, False, 0)),
        ([("red", "star"), ("blue", "moon"), ("blue", None)], (True, True, True, False, False, 0)),
        ([], (False, False, False, False, False, 2)),
    ],
)
def test_verdicts(objects: list[tuple[str, str | None]], expected: tuple[bool, bool, bool, bool, bool, int]) -> None:
    verdict = judge(Reading(tuple(seen(*o) for o in objects), "gray", "plain"), CASE)
    got = (verdict.shapes, verdict.colours, verdict.binding, verdict.wrong_binding, verdict.exact)
    assert (*got, len(verdict.neglected)) == expected
    assert verdict.count == len(objects)


def test_a_wanted_object_without_colour_takes_any() -> None:
    reading = Reading((seen("green", "star"),), None, None)
    assert judge(reading, [Wanted("star")]).exact
    assert judge(reading, [Wanted(None, "green")]).binding
    assert not judge(reading, [Wanted(None, "red")]).binding


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="shape: 'blob'"):
        Wanted("blob")
    with pytest.raises(ValueError, match="pictures: expected"):
        read(torch.zeros(3, 64, 64))
