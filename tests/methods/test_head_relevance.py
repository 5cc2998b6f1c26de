"""Votes, their normalisations, and the order of the heads."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib_ebca.methods.head_order import SD1, SDXL, columns, known_layout, labels, position
from lib_ebca.methods.head_relevance import (
    PADDING,
    START,
    head_factors,
    least_relevant_first,
    most_relevant_first,
    ranking,
    relevance,
    similarity,
    votes,
    weakened_factors,
)

SD1_LDM = [
    *(f"input_blocks.{block}.1.transformer_blocks.0.attn2" for block in (1, 2, 4, 5, 7, 8)),
    "middle_block.1.transformer_blocks.0.attn2",
    *(f"output_blocks.{block}.1.transformer_blocks.0.attn2" for block in range(3, 12)),
]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rows_of_different_length_do_not_change_each_other() -> None:
    query, key = noise(2, 3, 5, 4), noise(2, 3, 6, 4, seed=1)
    owner = torch.tensor([[START, 0, 0, 1, 1, 1], [START, 0, 1, 1, PADDING, PADDING]])
    together = similarity(query, key, owner, 2)
    alone = similarity(query[1:], key[1:, :, :4], owner[1:, :4], 2)
    assert torch.allclose(together[1:], alone, atol=1e-15)
    # A word's own columns are averaged, the start of the text only takes its mass.
    probabilities = (query[0] @ key[0].mT / 2).softmax(-1).mean(1)
    assert torch.allclose(together[0, :, 1], probabilities[:, 3:].mean(1), atol=1e-15)


def test_half_precision_is_averaged_in_float32() -> None:
    found = similarity(noise(1, 2, 4, 4).half(), noise(1, 2, 3, 4).half(), torch.tensor([[START, 0, 1]]), 2)
    assert found.dtype == torch.float32


def test_one_vote_each() -> None:
    cast = votes(torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.1, 0.4]]))
    assert cast.tolist() == [[0, 1, 0], [1, 0, 0]]


counts = st.integers(2, 5).flatmap(
    lambda concepts: st.lists(
        st.lists(st.integers(0, 30), min_size=concepts, max_size=concepts), min_size=1, max_size=6
    )
)


@given(counts, st.sampled_from([0.0, 0.5, 4.0]))
def test_columns_are_shares_and_rows_have_a_mean_of_one(drawn: list[list[int]], pseudo: float) -> None:
    table = torch.tensor(drawn).T
    shares = ranking(table, pseudo)
    assert torch.allclose(shares.sum(0), torch.ones(table.shape[1], dtype=torch.float64))
    assert torch.allclose(relevance(table, pseudo).mean(1), torch.ones(table.shape[0], dtype=torch.float64))


def test_a_pseudo_count_brings_rare_concepts_nearer_to_one() -> None:
    table = torch.tensor([[99, 98, 100], [1, 2, 0]])
    spread = [float((relevance(table, pseudo)[1] - 1).abs().max()) for pseudo in (0.0, 1.0, 10.0)]
    assert spread[0] > spread[1] > spread[2]


def test_factors_are_sums_of_relevances_between_floor_and_clamp() -> None:
    vectors = torch.tensor([[0.5, 12.0], [3.0, 1.0]])
    assert head_factors(vectors, {0: 1}).tolist() == [0.5, 12.0]
    assert head_factors(vectors, {0: 2, 1: -1}).tolist() == [-2.0, 23.0]
    assert head_factors(vectors, {0: 2, 1: -1}, clamp=9).tolist() == [-2.0, 17.0]
    assert head_factors(vectors, {0: 2}, floor=0.7).tolist() == pytest.approx([1.4, 24.0])


def test_orders_and_what_they_weaken() -> None:
    vector = torch.tensor([1.0, 3.0, 0.0, 3.0])
    assert most_relevant_first(vector) == [1, 3, 0, 2]
    assert least_relevant_first(vector) == [2, 0, 1, 3]
    assert weakened_factors([1, 3, 0, 2], 2, -2.0, 4).tolist() == [1, -2, 1, -2]


def test_ldm_names_stand_in_the_same_order() -> None:
    shuffled = {name: 8 for name in reversed(SD1_LDM)}
    assert list(columns(shuffled)) == SD1_LDM
    assert columns(shuffled)["middle_block.1.transformer_blocks.0.attn2"] == slice(48, 56)
    assert labels(shuffled)[104 + 3] == "up, layer: 6, head: 3"


def test_sgm_names_of_ten_blocks_are_counted_as_numbers() -> None:
    names = [f"input_blocks.7.1.transformer_blocks.{number}.attn2" for number in range(10)]
    assert list(columns({name: 20 for name in sorted(names, reverse=True)})) == names


def test_known_layouts() -> None:
    assert (known_layout(SD1), known_layout(SDXL), known_layout((8,) * 15)) == ("sd1", "sdxl", None)
    assert (sum(SD1), sum(SDXL)) == (128, 1300)


def test_another_modules_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'down_blocks.0.attn1' is no cross-attention layer"):
        position("down_blocks.0.attn1")


def test_equal_heads_stay_in_their_order() -> None:
    vector = torch.tensor([1.0, 0.0] * 64)
    assert least_relevant_first(vector) == [*range(1, 128, 2), *range(0, 128, 2)]
    assert most_relevant_first(vector) == [*range(0, 128, 2), *range(1, 128, 2)]


def test_rare_votes_are_shared_like_others() -> None:
    torch.testing.assert_close(ranking(torch.tensor([[0.3], [0.1]])), torch.tensor([[0.75], [0.25]]).double())
    assert torch.equal(ranking(torch.zeros(2, 3), 0.1), torch.full((2, 3), 0.5, dtype=torch.float64))
    torch.testing.assert_close(relevance(torch.tensor([[1, 0], [9, 10]]))[0], torch.tensor([2.0, 0.0]).double())


def test_a_word_of_one_column_is_that_column() -> None:
    query, key = noise(1, 2, 5, 4), noise(1, 2, 3, 4, seed=1)
    found = similarity(query, key, torch.tensor([[START, 1, 0]]), 3, scale=0.7)
    probabilities = (0.7 * query[0] @ key[0].mT).softmax(-1).mean(1)
    torch.testing.assert_close(found[0, :, 0], probabilities[:, 2])
    torch.testing.assert_close(found[0, :, 1], probabilities[:, 1])
    assert not found[0, :, 2].any()  # nobody's column


def test_where_each_name_stands() -> None:
    assert position("down_blocks.1.attentions.0.transformer_blocks.2.attn2") == (0, 1, 0, 2)
    assert position("mid_block.attentions.0.transformer_blocks.3.attn2") == (1, 0, 0, 3)
    assert position("up_blocks.2.attentions.1.transformer_blocks.0.attn2") == (2, 2, 1, 0)
    assert position("input_blocks.4.1.transformer_blocks.0.attn2") == (0, 4, 1, 0)
    assert position("middle_block.1.transformer_blocks.5.attn2") == (1, 1, 0, 5)
    assert position("output_blocks.11.1.transformer_blocks.0.attn2") == (2, 11, 1, 0)


def test_labels_count_the_layers_of_each_part_from_nought() -> None:
    down, middle, up = ("down_blocks.0.attentions", "mid_block.attentions", "up_blocks.1.attentions")
    heads = {f"{part}.{number}.transformer_blocks.0.attn2": 2 - number for part in (up, down) for number in (1, 0)}
    heads[f"{middle}.0.transformer_blocks.0.attn2"] = 1
    assert labels(heads) == [
        *("down, layer: 0, head: 0", "down, layer: 0, head: 1", "down, layer: 1, head: 0"),
        "mid, layer: 0, head: 0",
        *("up, layer: 0, head: 0", "up, layer: 0, head: 1", "up, layer: 1, head: 0"),
    ]
    assert list(columns(heads).values()) == [slice(0, 2), slice(2, 3), slice(3, 4), slice(4, 6), slice(6, 7)]
