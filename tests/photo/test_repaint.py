"""RePaint's way down and back up, and its two kinds of steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib_ebca.photo.repaint import Stride, climb, itinerary, step_down


def normal(seed: int) -> torch.Tensor:
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 5))
def test_every_way_comes_down_and_each_stretch_is_walked_the_same_number_of_times(
    steps: int, length: int, count: int
) -> None:
    way = itinerary(steps, length, count)
    stride = 1000 // steps
    place = (steps - 1) * stride
    for step in way:
        assert step.timestep == place
        assert all(up == place + stride * number for number, up in enumerate(step.climbs))
        place += stride * len(step.climbs) - stride
    assert place == -stride
    jumps = len(range(0, steps - length, length))
    assert len(way) == steps + jumps * (count - 1) * length
    assert sum(bool(step.climbs) for step in way) == jumps * (count - 1)


def test_one_walk_is_a_straight_one() -> None:
    assert itinerary(4, 10, 10) == itinerary(4, 2, 1) == tuple(Stride(t) for t in (750, 500, 250, 0))


@pytest.mark.parametrize("arguments", [(0, 1, 1), (10, 0, 1), (10, 1, 0), (1001, 1, 1)])
def test_ways_that_cannot_be(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="it should be"):
        itinerary(*arguments)


def test_a_step_repaints_where_the_mask_is_white_and_keeps_the_photograph_elsewhere() -> None:
    latents, noise, known, fresh = (normal(seed) for seed in range(4))
    white = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    white[..., 2:5, 3:6] = 1
    level, below = torch.tensor(0.3, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    after = step_down(latents, noise, known, white, level, below, fresh)
    other = step_down(latents, noise, known + 1, white, level, below, fresh)
    inside = white.bool().expand_as(after)
    assert torch.equal(after[inside], other[inside])
    assert torch.allclose(other[~inside] - after[~inside], below.sqrt())
    assert torch.allclose(after[~inside], (below.sqrt() * known + (1 - below).sqrt() * fresh)[~inside])


def test_the_last_step_gives_the_photograph_itself_and_all_black_all_of_it() -> None:
    latents, noise, known, fresh = (normal(seed) for seed in range(4))
    level, one = torch.tensor(0.999, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    black = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    assert torch.equal(step_down(latents, noise, known, black, level, one, fresh), known)


def test_clipping_bounds_the_estimated_picture() -> None:
    known, fresh = normal(2), normal(3)
    white, one = torch.ones(1, 1, 8, 8, dtype=torch.float64), torch.ones((), dtype=torch.float64)
    level = torch.tensor(0.5, dtype=torch.float64)
    free = step_down(9 * normal(0), normal(1), known, white, level, one, fresh)
    bound = step_down(9 * normal(0), normal(1), known, white, level, one, fresh, clip=1.0)
    assert torch.equal(bound, free.clamp(-1, 1)) and float(free.abs().max()) > 1


def test_a_climb_adds_the_noise_of_its_timesteps() -> None:
    betas = torch.linspace(0.001, 0.01, 50, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    start = torch.full((1, 4, 100, 100), 3.0, dtype=torch.float64)
    after = climb(start, betas, lambda: torch.randn(start.shape, generator=generator, dtype=torch.float64))
    kept = float((1 - betas).prod())
    assert float(after.mean()) == pytest.approx(3 * kept**0.5, abs=0.02)
    assert float(after.var()) == pytest.approx(1 - kept, abs=0.02)
