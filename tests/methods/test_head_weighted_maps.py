"""A layer's part of the subjects' maps, against a blur that is written out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.methods.attend_and_excite import Objective
from lib_ebca.methods.head_weighted_maps import SIDE, pooled, subject_scores
from lib_ebca.methods.maps import smoothed, smoothing_kernel


def line(taps: int, sigma: float) -> Tensor:
    weights = torch.tensor([math.exp(-((tap - taps // 2) ** 2) / (2 * sigma**2)) for tap in range(taps)])
    return (weights / weights.sum()).double()


def written_out(maps: Tensor, taps: int, sigma: float) -> Tensor:
    """Maps (T, h, w) blurred pixel by pixel and resized."""
    height, width = maps.shape[-2:]
    weights, half = line(taps, sigma), taps // 2

    def mirrored(place: int, side: int) -> int:
        place = abs(place)
        return place if place < side else 2 * (side - 1) - place

    blurred = torch.zeros_like(maps)
    for y in range(height):
        for x in range(width):
            for i in range(taps):
                for j in range(taps):
                    there = maps[:, mirrored(y + i - half, height), mirrored(x + j - half, width)]
                    blurred[:, y, x] += weights[i] * weights[j] * there
    return F.interpolate(blurred[None], (SIDE, SIDE), mode="bicubic", align_corners=False)[0]


@pytest.mark.parametrize(("side", "taps", "sigma"), [(16, 3, 0.8), (32, 5, 1.1)])
def test_larger_layers_are_blurred_as_far_as_they_are_made_smaller(side: int, taps: int, sigma: float) -> None:
    probabilities = torch.rand(2, side * side, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
    found = pooled(probabilities, (side, side), weights)
    maps = (0.25 * probabilities[0] + 0.75 * probabilities[1]).T.unflatten(-1, (side, side))
    torch.testing.assert_close(found[0].permute(2, 0, 1), written_out(maps, taps, sigma), rtol=1e-6, atol=1e-6)


def test_small_layers_are_not_blurred() -> None:
    probabilities = torch.rand(1, SIDE * SIDE, 3, generator=torch.Generator().manual_seed(0))
    found = pooled(probabilities, (SIDE, SIDE), torch.ones(1, 1))
    assert torch.equal(found[0].flatten(0, 1), probabilities[0])


@pytest.mark.parametrize("size", [3, 5])
def test_a_point_is_smoothed_to_the_kernel(size: int) -> None:
    kernel, maps = smoothing_kernel("gaussian", 1.0, size), torch.zeros(1, 9, 9)
    maps[0, 4, 4] = 1
    found = smoothed(maps, kernel)
    assert found.shape == maps.shape
    half = size // 2
    torch.testing.assert_close(found[0, 4 - half : 5 + half, 4 - half : 5 + half], kernel)
    assert found.sum() == pytest.approx(1)


def test_layers_of_other_sides_are_blurred_along_those_that_are_made_smaller() -> None:
    """24 is no whole halving of 8; 4 rows are made more."""
    probabilities = torch.rand(1, 4 * 24, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = pooled(probabilities, (4, 24), torch.ones(1, 1, dtype=torch.float64))
    maps = probabilities[0].T.unflatten(-1, (4, 24))
    mirrored = F.pad(maps, (2, 2), mode="reflect")
    blurred = sum(weight * mirrored[..., tap : tap + 24] for tap, weight in enumerate(line(5, 1.1)))
    assert isinstance(blurred, Tensor)
    expected = F.interpolate(blurred[None], (SIDE, SIDE), mode="bicubic", align_corners=False)[0]
    torch.testing.assert_close(found[0].permute(2, 0, 1), expected)


@pytest.mark.parametrize("kernel", ["published", "gaussian", None])
@pytest.mark.parametrize("masked", [False, True])
def test_scores_are_the_largest_share_of_each_tokens_own_map(kernel: str | None, masked: bool) -> None:
    """Two subjects, the second of two tokens; each token is looked for in the map of its own subject."""
    attention = torch.rand(2, SIDE, SIDE, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) / 50
    text = torch.tensor([False, True, True, True, False])
    mask = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    mask[2:5, 1:4] = 0.5

    def largest(subject: int, token: int) -> float:
        shares = (100 * attention[subject, ..., 1:4]).softmax(-1)[None, ..., token - 1]
        if kernel is not None:
            shares = smoothed(shares, smoothing_kernel("gaussian", dtype=torch.float64))
        return float((shares * mask if masked else shares).max())

    given, within = [[2], [1, 3]], mask if masked else None
    parts = [largest(0, 2), largest(1, 1), largest(1, 3)]
    best = subject_scores(attention, text, given, Objective(kernel=kernel), within)
    assert best.tolist() == pytest.approx([parts[0], max(parts[1:])])
    mean = subject_scores(attention, text, given, Objective(tokens="mean", kernel=kernel), within)
    assert mean.tolist() == pytest.approx([parts[0], sum(parts[1:]) / 2])
