from __future__ import annotations

import math

import pytest
import torch

from world.shapes.render import background, render
from world.shapes.scenes import (
    COLOURS,
    DOUBLE_SHARE,
    MARGIN,
    SHAPES,
    SIZE,
    Scene,
    SceneBatch,
    SceneObject,
    combination_held_out,
    held_out_combinations,
    pair_held_out,
    sample_scenes,
    training_combinations,
    training_pairs,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_colour_and_every_shape_loses_one_pair() -> None:
    held_out = [(c, s) for c in range(8) for s in range(8) if pair_held_out(c, s)]
    assert sorted(c for c, _ in held_out) == sorted(s for _, s in held_out) == list(range(8))
    assert len(training_pairs()) == 56


def test_held_out_combinations_do_not_depend_on_the_order_and_are_a_small_part() -> None:
    for a in training_pairs():
        for b in training_pairs():
            assert combination_held_out(a, b) == combination_held_out(b, a)
    assert 100 < len(held_out_combinations()) < 0.15 * len(training_combinations())


def test_sampled_scenes_keep_what_is_held_out_and_stay_apart_inside_the_picture() -> None:
    scenes = sample_scenes(4000, generator())
    allowed = set(training_combinations())
    for i in range(len(scenes)):
        assert not pair_held_out(int(scenes.colour[i, 0]), int(scenes.shape[i, 0]))
        if scenes.count[i] == 2:
            row = [int(v) for j in range(2) for v in (scenes.colour[i, j], scenes.shape[i, j])]
            assert tuple(row) in allowed
    for place in (scenes.x, scenes.y):
        assert (place >= scenes.radius + MARGIN - 1e-4).all()
        assert (place <= SIZE - scenes.radius - MARGIN + 1e-4).all()
    double = scenes.count == 2
    assert double.float().mean() == pytest.approx(DOUBLE_SHARE, abs=0.05)
    distance = torch.hypot(scenes.x[:, 0] - scenes.x[:, 1], scenes.y[:, 0] - scenes.y[:, 1])
    assert (distance >= scenes.radius.sum(1))[double].all()


def test_scenes_to_words_and_back_draw_the_same() -> None:
    scenes = sample_scenes(16, generator(1))
    again = SceneBatch.from_scenes([scenes.scene(i) for i in range(16)])
    assert [again.scene(i) for i in range(16)] == [scenes.scene(i) for i in range(16)]
    # Only the jitter of the colours is not kept.
    assert (render(scenes) - render(again)).abs().max() < 0.04


def test_pictures_are_in_range_smooth_at_edges_and_the_same_each_time() -> None:
    scenes = sample_scenes(64, generator(2))
    pictures = render(scenes)
    assert pictures.shape == (64, 3, SIZE, SIZE)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    assert torch.equal(pictures, render(scenes))
    disc = render(SceneBatch.from_scenes([Scene((SceneObject("circle", "blue", radius=15),), "white")]))
    between = ((disc[0, 0] > 0.2) & (disc[0, 0] < 0.85)).sum()
    assert between > 30
    blue_area = float(((0.96 - disc[0, 0]) / (0.96 - 0.10)).sum())
    assert blue_area == pytest.approx(math.pi * (0.92 * 15) ** 2, rel=0.01)


def test_a_scene_without_its_object_is_its_background() -> None:
    scene = Scene((SceneObject("square", "red", x=20, y=20, radius=10),), "dark", "checkerboard")
    batch = SceneBatch.from_scenes([scene])
    picture, behind = render(batch)[0], background(batch)[0]
    assert torch.allclose(picture[:, 40:, 40:], behind[40:, 40:].expand(3, -1, -1))
    assert not torch.allclose(picture[:, 15:25, 15:25], behind[15:25, 15:25].expand(3, -1, -1))


def test_unknown_words_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="shape: 'blob'"):
        SceneObject("blob", COLOURS[0])
    with pytest.raises(ValueError, match="tone: 'mauve'"):
        Scene((SceneObject(SHAPES[0], COLOURS[0]),), tone="mauve")
