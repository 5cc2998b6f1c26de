"""Against numbers that the WebUI 1.10.1 drew with its setting "NV"."""

from __future__ import annotations

import math

import pytest
import torch

from lib_ebca.methods.gpu_noise import GpuNoise, _philox

DRAWN = {
    0: (
        [-0.9246624112129211, -0.42534396052360535, -2.643845796585083, 0.14518387615680695, -0.12086650729179382],
        [0.18082588911056519, -0.5522627234458923, 0.9238134026527405, -0.7349703311920166, 1.3799946308135986],
    ),
    42: (
        [0.1940188705921173, 2.1613738536834717, -0.17205095291137695, 0.8490599989891052, -1.9243992567062378],
        [0.13913749158382416, -0.10821615904569626, -0.7174221873283386, 0.7566486597061157, 0.3714882433414459],
    ),
    2**32 + 5: (
        [-2.842747449874878, 1.3404923677444458, 0.272230863571167, 1.4550628662109375, -0.7352960705757141],
        [1.5295939445495605, -0.2153237760066986, 0.05125512555241585, 1.5882172584533691, -0.9465365409851074],
    ),
}


@pytest.mark.parametrize("seed", DRAWN)
def test_the_numbers_of_one_call_and_of_the_next(seed: int) -> None:
    draw = GpuNoise(seed)
    for expected in DRAWN[seed]:
        torch.testing.assert_close(draw((5,)), torch.tensor(expected), rtol=0, atol=1e-7)


def test_a_tensor_is_filled_row_by_row() -> None:
    assert torch.equal(GpuNoise(7)((2, 3, 4)).flatten(), GpuNoise(7)((24,)))


def test_they_are_normal() -> None:
    drawn = GpuNoise(1)((4, 64, 64))
    assert drawn.dtype == torch.float32 and abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02


@pytest.mark.parametrize(("seed", "place"), [(7437751, 3), (2879409, 3)])
def test_next_to_nothing_is_drawn_from_the_middle_of_its_unit(seed: int, place: int) -> None:
    """Where a word is small, of the length or of the angle, the half unit that is added to it is seen."""
    nothing = torch.zeros(1, dtype=torch.int64)
    words = [int(each) for each in _philox([nothing, nothing, nothing + place, nothing], (seed, 0))]
    assert min(words) < 100
    length, angle = ((word + 0.5) / 2**32 for word in words)
    expected = math.sqrt(-2 * math.log(length)) * math.sin(2 * math.pi * angle)
    assert float(GpuNoise(seed)((place + 1,))[place]) == pytest.approx(expected, rel=1e-6)
