from __future__ import annotations

import torch

from training.ahead import Ahead, usual_workers
from training.loop import step_generator
from training.worlds import WORLDS, Sample, Samples

CPU = torch.device("cpu")


def square(step: int) -> int:
    return step * step


def test_what_is_made_ahead_comes_in_order_and_may_begin_anew() -> None:
    ahead = Ahead(square, 2)
    assert [ahead(step) for step in (*range(5), 2, 3, 9)] == [0, 1, 4, 9, 16, 4, 9, 81]


def test_samples_are_the_same_whoever_draws_them() -> None:
    drawn = [
        Samples(WORLDS["book"], 2, 5, CPU, lambda step: 0.5, workers)(step, step_generator(CPU, 0, 0))
        for workers in (0, 1)
        for step in (7,)
    ]
    assert torch.equal(drawn[0].pictures, drawn[1].pictures) and torch.equal(drawn[0].words, drawn[1].words)


def test_a_packed_sample_is_what_it_was_to_a_255th() -> None:
    sample = WORLDS["book"].sample(3, torch.Generator().manual_seed(1), CPU)
    again = Sample.unpacked(sample.packed(), CPU)
    assert torch.allclose(sample.pictures, again.pictures, atol=0.5 / 255 + 1e-6)
    assert torch.allclose(sample.regions, again.regions, atol=0.5 / 255 + 1e-6)
    for name in ("words", "owners", "held_out"):
        assert torch.equal(getattr(sample, name), getattr(again, name))


def test_shapes_are_drawn_from_the_steps_own_generator() -> None:
    samples = Samples(WORLDS["shapes"], 2, 5, CPU, lambda step: 0.5, 1)
    first, second = (samples(0, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.equal(first.pictures, second.pictures)


def test_a_cpu_draws_for_itself() -> None:
    assert usual_workers(CPU) == 0
    assert usual_workers(torch.device("cuda")) >= 1
