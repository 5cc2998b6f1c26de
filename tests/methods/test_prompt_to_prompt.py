"""What a followed map is made of, against maps that are written out."""

from __future__ import annotations

import pytest
import torch

from lib_ebca.methods.alignment import Alignment
from lib_ebca.methods.prompt_to_prompt import (
    Mixture,
    blend_mask,
    blended,
    cross_windows,
    equaliser,
    followed,
    mixture,
    self_window,
    window,
)

TURNED = Alignment(
    torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).double(), torch.tensor([0, 0, 1.0])
)


def test_windows_are_cut_off_towards_zero() -> None:
    assert list(window((0.25, 0.8), 6)) == [1, 2, 3]
    assert list(self_window((0.0, 0.5), 5)) == [0, 1]


def test_a_word_has_its_window_instead_of_the_default() -> None:
    table = cross_windows(4, 3, (0.0, 0.4), [([1], (0.4, 0.8)), ([2], (0.0, 1.0))])
    assert table.tolist() == [[1, 0, 1], [1, 0, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1]]


def test_an_equaliser_is_one_elsewhere() -> None:
    assert equaliser(4, {(1, 2): 3.0, (2,): -2.0}).tolist() == [1, 3, -2, 1]


def test_a_followed_map_takes_the_sources_columns_and_keeps_what_was_put_in() -> None:
    source, own = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.1, 0.2, 0.7]])
    ones = torch.ones(3, dtype=torch.float64)
    found = followed(source, own, mixture(TURNED, ones))
    torch.testing.assert_close(found, torch.tensor([[0.3, 0.5, 0.7]]))
    found = followed(source, own, mixture(TURNED, ones, equaliser(3, {(0,): 2.0, (2,): 3.0})))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.5, 2.1]]))
    found = followed(source, own, mixture(TURNED, torch.tensor([1.0, 0, 0]), equaliser(3, {(1,): 5.0}), kept=[0]))
    torch.testing.assert_close(found, own)


def test_idle_is_the_own_map_alone() -> None:
    nothing, ones = torch.zeros(3, 3), torch.ones(3)
    assert Mixture(nothing, ones).idle and Mixture(nothing, ones).keeps
    assert not Mixture(nothing, 2 * ones).idle and not Mixture(torch.eye(3), ones).idle
    assert not Mixture(torch.eye(3), 0 * ones).keeps


@pytest.mark.parametrize(("value", "seen"), [(0.31, True), (0.3, True), (0.29, False)])
def test_a_mask_is_a_share_of_each_maps_own_maximum(value: float, seen: bool) -> None:
    source, edit = torch.zeros(8, 8), torch.zeros(8, 8)
    source[0, 0], source[7, 7], edit[0, 7] = 10.0, 10 * value, 1.0
    mask = blend_mask(source, edit, (16, 16), 0.2999)
    assert bool(mask[15, 15]) is seen
    # 3 x 3 around each place, twice as many rows of the latent.
    assert mask[:4, :4].all() and mask[:4, 12:].all() and not mask[4:12, :].any() and not mask[:4, 4:12].any()
    assert not bool(blend_mask(source, edit, (16, 16), 0.5)[15, 15])


def test_the_published_threshold_is_a_share_of_three_tenths() -> None:
    source = torch.zeros(8, 8)
    source[0, 0], source[7, 7], source[0, 7] = 1.0, 0.31, 0.29
    mask = blend_mask(source, source, (8, 8))
    assert mask[7, 7] and not mask[0, 7]


def test_blending_keeps_the_source_where_nothing_was_asked() -> None:
    source, edit = torch.full((2, 1, 2), 1.0), torch.full((2, 1, 2), 4.0)
    assert blended(source, edit, torch.tensor([[True, False]])).tolist() == [[[4.0, 1.0]], [[4.0, 1.0]]]


def test_what_is_at_the_threshold_is_left_out() -> None:
    source = torch.zeros(8, 8)
    source[0, 0], source[0, 7], source[7, 7] = 2.0, 1.0, 1.125
    mask = blend_mask(source, source, (8, 8), 0.5)
    assert not mask[0, 7] and mask[7, 7]


def test_a_pass_has_a_row_for_the_spare_evaluation() -> None:
    table = cross_windows(2, 3, (0.0, 1.0), [])
    assert table.tolist() == [[1.0] * 3] * 3
    assert table.dtype == torch.float64


def test_kept_columns_are_the_own_maps_within_the_window_too() -> None:
    ones = torch.ones(3, dtype=torch.float64)
    found = mixture(TURNED, ones, kept=[0, 2])
    assert found.route.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert found.own.tolist() == [1, 0, 1]
    half = mixture(TURNED, 0.5 * ones)
    assert half.route.tolist() == [[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]]
    assert half.own.tolist() == [0.5, 0.5, 1]
    assert TURNED.route[1, 0] == 1 and TURNED.own[0] == 0  # what was given stays as it is
