"""Levels and timesteps that no recording of a sampler holds."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from lib_ebca.methods.noise_levels import (
    ConsistencyTable,
    NoiseTable,
    align_your_steps,
    exponential,
    karras,
    kl_optimal,
    sgm_uniform,
    simple,
    uniform,
)
from lib_ebca.methods.noise_levels import ddim as of_ddim_levels
from lib_ebca.methods.noise_levels import timesteps as of_ddim

TABLE = NoiseTable.of_betas(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)
DISTILLED = ConsistencyTable.within(TABLE)


@pytest.mark.parametrize("table", [TABLE, DISTILLED])
def test_a_table_is_itself_alone_and_stays_as_it_is(table: NoiseTable) -> None:
    assert table != dataclasses.replace(table) and len({table, table}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.alphas_cumprod = torch.ones(1)  # type: ignore[misc]  # that it is frozen is what is tested


def test_sgm_uniform_leaves_out_the_step_before_zero() -> None:
    places = torch.tensor([999.0, 749.25, 499.5, 249.75])
    found = sgm_uniform(4, TABLE)
    torch.testing.assert_close(found[:4], TABLE.sigma(places))
    assert found[4] == 0


def test_kl_optimal_is_even_in_the_angle_from_the_largest_to_the_smallest() -> None:
    angles = kl_optimal(4, TABLE).atan()
    low, high = (math.atan(TABLE.sigmas[place].item()) for place in (0, -1))
    expected = torch.tensor([high + (low - high) * part / 4 for part in range(5)])
    torch.testing.assert_close(angles, expected)


def test_the_published_levels_come_back_as_they_were_printed() -> None:
    """Sabour et al. 2024, for SD 1.5 and SDXL."""
    sd = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029, 0.0]
    xl = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029, 0.0]
    torch.testing.assert_close(align_your_steps(11, TABLE), torch.tensor(sd))
    torch.testing.assert_close(align_your_steps(11, TABLE, xl=True), torch.tensor(xl))
    every_other = align_your_steps(6, TABLE, xl=True)
    torch.testing.assert_close(every_other, torch.tensor([*xl[:11:2], 0.0]))
    halves = align_your_steps(21, TABLE, xl=True)
    assert halves[1].item() == pytest.approx((xl[0] * xl[1]) ** 0.5)


def test_ddims_timesteps_rise_from_one_and_stay_among_the_trained() -> None:
    assert of_ddim(4).tolist() == [1, 251, 501, 751]
    assert of_ddim(3, 10).tolist() == [1, 4, 7, 9]


def test_as_many_levels_as_asked_for_are_kept() -> None:
    few = ConsistencyTable.within(TABLE, 4)
    assert (few.stride, few.first, few.last) == (250, 249, 999)
    assert torch.equal(few.alphas_cumprod, TABLE.alphas_cumprod[[249, 499, 749, 999]])
    usual = ConsistencyTable.within(TABLE)
    assert usual.stride == 20 and torch.equal(usual.alphas_cumprod, TABLE.alphas_cumprod[19::20])


def test_distilled_levels_are_every_twentieth() -> None:
    assert (DISTILLED.stride, DISTILLED.first, DISTILLED.last) == (20, 19, 999)
    torch.testing.assert_close(DISTILLED.sigmas, TABLE.sigmas[19::20])
    for timestep in (19, 39, 499, 999):
        level = TABLE.sigmas[timestep]
        assert DISTILLED.timestep(level).item() == timestep
        torch.testing.assert_close(DISTILLED.sigma(torch.tensor(float(timestep))), level)


def test_a_distilled_picture_keeps_a_share_of_the_latent() -> None:
    latent, noise, level = torch.tensor([2.0]), torch.tensor([0.5]), DISTILLED.sigmas[0]
    scaled = 190.0
    skip, out = 0.25 / (scaled**2 + 0.25), scaled / (scaled**2 + 0.25) ** 0.5
    expected = out * (latent - level * noise) + skip * latent
    torch.testing.assert_close(DISTILLED.picture(latent, level, noise), expected, rtol=1e-7, atol=0)


def test_beyond_the_distilled_timesteps_are_the_outermost_levels() -> None:
    lowest, largest = DISTILLED.sigmas[0], DISTILLED.sigmas[-1]
    found = [DISTILLED.sigma(torch.tensor(timestep)) for timestep in (0.0, 19.0, 999.0, 2000.0)]
    torch.testing.assert_close(torch.stack(found), torch.stack([lowest, lowest, largest, largest]))


def test_levels_beyond_the_trained_ones_are_held_at_the_ends() -> None:
    levels = torch.stack([TABLE.sigmas[0] / 2, *TABLE.sigmas[[0, 1, 998, 999]], 2 * TABLE.sigmas[999]])
    assert TABLE.timestep(levels).tolist() == [0.0, 0.0, 1.0, 998.0, 999.0, 999.0]
    assert (TABLE.first, TABLE.last) == (0, 999)


@pytest.mark.parametrize("place", [0, 500, 998])
def test_between_two_timesteps_lies_the_mean_of_their_logarithms(place: int) -> None:
    between = (TABLE.sigmas[place] * TABLE.sigmas[place + 1]).sqrt()
    torch.testing.assert_close(TABLE.sigma(torch.tensor(place + 0.5)), between)
    assert TABLE.timestep(between).item() == pytest.approx(place + 0.5, abs=0.02)
    quarter = TABLE.log_sigmas[place] * 0.75 + TABLE.log_sigmas[place + 1] * 0.25
    torch.testing.assert_close(TABLE.sigma(torch.tensor(place + 0.25)), quarter.exp())


def test_a_table_is_what_its_betas_leave() -> None:
    table = NoiseTable.of_betas(torch.tensor([0.5, 0.2], dtype=torch.float64))
    assert table.alphas_cumprod.dtype == torch.float32
    torch.testing.assert_close(table.alphas_cumprod, torch.tensor([0.5, 0.4]))
    torch.testing.assert_close(table.sigmas, torch.tensor([1.0, 1.5]).sqrt())
    torch.testing.assert_close(
        table.picture(torch.tensor(3.0), torch.tensor(2.0), torch.tensor(0.5)), torch.tensor(2.0)
    )


def test_simple_takes_every_so_many_levels_from_the_last() -> None:
    places = [999, 666, 333]  # 1000 / 3 is cut off
    assert torch.equal(simple(3, TABLE), torch.cat([TABLE.sigmas[places], torch.zeros(1)]))


def test_ddims_levels_are_those_of_its_timesteps() -> None:
    assert torch.equal(of_ddim_levels(4, TABLE), torch.cat([TABLE.sigmas[[751, 501, 251, 1]], torch.zeros(1)]))
    assert len(of_ddim_levels(6, TABLE)) == 7 + 1  # a stride of 166
    few = NoiseTable(TABLE.alphas_cumprod[:4])
    assert torch.equal(of_ddim_levels(9, few), torch.cat([few.sigmas[1:].flip(0), torch.zeros(1)]))


def test_uniform_karras_and_exponential_between_the_outermost_levels() -> None:
    low, high = (float(TABLE.sigmas[place]) for place in (0, -1))
    torch.testing.assert_close(uniform(3, TABLE), torch.tensor([high, float(TABLE.sigma(torch.tensor(499.5))), low, 0]))
    torch.testing.assert_close(exponential(3, TABLE), torch.tensor([high, (low * high) ** 0.5, low, 0]))
    middle = ((high ** (1 / 7) + low ** (1 / 7)) / 2) ** 7
    torch.testing.assert_close(karras(3, TABLE), torch.tensor([high, middle, low, 0]))
    torch.testing.assert_close(karras(3, TABLE, rho=1.0), torch.tensor([high, (high + low) / 2, low, 0]))
