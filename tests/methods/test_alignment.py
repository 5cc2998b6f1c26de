"""Alignments of two prompts' tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib_ebca.methods.alignment import (
    NO_PARTNER,
    AlignmentError,
    TokenRows,
    aligned,
    published_replace_mapper,
    refine_mapper,
    replace_mapper,
)

CHUNK = 12
START, END = 0, 1


def prompt(*words: tuple[int, ...], chunks: int = 1) -> TokenRows:
    """A prompt of words, each given by its tokens; a word that does not fit goes to the next chunk."""
    ids: list[int] = [START]
    rows: list[tuple[int, ...]] = []
    used = 2
    for word in words:
        room = CHUNK - 1 - len(ids) % CHUNK
        if len(word) > room:
            ids += [END] * (room + 1) + [START]
        rows.append(tuple(range(len(ids), len(ids) + len(word))))
        ids += word
        used = len(ids) + 1
    ids += [END] * (-len(ids) % CHUNK)
    while len(ids) < chunks * CHUNK:
        ids += [START] + [END] * (CHUNK - 1)
    return TokenRows(tuple(ids), tuple(rows), used, CHUNK)


A, LION, SITS, ON, GRASS = (2,), (3,), (4,), (5,), (6,)
LASAGNE = (7, 8)
words = st.lists(st.lists(st.integers(2, 9), min_size=1, max_size=3).map(tuple), min_size=1, max_size=4)


def test_words_after_a_swapped_one_keep_their_maps() -> None:
    """The published mapper gives "sits" the map of "on"; ours does not."""
    source, target = prompt(A, LION, SITS, ON, GRASS), prompt(A, LASAGNE, SITS, ON, GRASS)
    ours, published = replace_mapper(source, target), published_replace_mapper(source, target)
    assert ours[2, 2] == ours[2, 3] == 0.5
    assert [int(ours[:, column].argmax()) for column in (4, 5, 6, 7)] == [3, 4, 5, 6]
    assert [int(published[:, column].argmax()) for column in (4, 5, 6, 7)] == [4, 5, 6, 7]


def test_padding_without_a_partner_goes_to_the_last() -> None:
    mapper = replace_mapper(prompt(A, LION), prompt(A, LASAGNE))
    assert mapper[-3:].nonzero().tolist() == [[0, CHUNK - 2], [1, CHUNK - 1], [2, CHUNK - 1]]


def test_equal_token_counts_agree_with_the_published_mapper() -> None:
    source, target = prompt(A, LION, SITS, ON, GRASS), prompt(A, (9,), SITS, ON, (3,))
    assert torch.equal(replace_mapper(source, target), published_replace_mapper(source, target))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_attention_is_lost_or_made(data: st.DataObject) -> None:
    source_words = data.draw(words)
    size = st.lists(st.integers(2, 9), min_size=1, max_size=3).map(tuple)
    target_words = data.draw(st.lists(size, min_size=len(source_words), max_size=len(source_words)))
    source, target = prompt(*source_words, chunks=2), prompt(*target_words, chunks=2)
    mapper = replace_mapper(source, target)
    assert torch.allclose(mapper.sum(1), torch.ones(2 * CHUNK, dtype=torch.float64))
    assert bool((mapper.sum(0) > 0).all())
    for rows, columns in zip(source.words, target.words, strict=True):
        assert mapper[list(rows)][:, list(columns)].sum(1).tolist() == pytest.approx([1.0] * len(rows))


@given(words)
@settings(max_examples=50, deadline=None)
def test_a_prompt_is_aligned_with_itself_row_by_row(own: list[tuple[int, ...]]) -> None:
    rows = prompt(*own, chunks=2)
    assert torch.equal(replace_mapper(rows, rows), torch.eye(2 * CHUNK, dtype=torch.float64))
    assert refine_mapper(rows, rows) == tuple(range(2 * CHUNK))


@given(words, words)
@settings(max_examples=100, deadline=None)
def test_refining_keeps_the_order_and_pairs_equal_tokens(
    source: list[tuple[int, ...]], target: list[tuple[int, ...]]
) -> None:
    of, to = prompt(*source, chunks=2), prompt(*target, chunks=2)
    partners = refine_mapper(of, to)
    paired = [(partner, row) for row, partner in enumerate(partners[: to.used]) if partner != NO_PARTNER]
    assert all(of.ids[partner] == to.ids[row] for partner, row in paired)
    assert paired == sorted(paired)
    # Padding never takes the map of a word.
    assert all(partner >= of.used for partner in partners[to.used :] if of.used < len(of.ids))


def test_put_in_words_have_no_partner() -> None:
    partners = refine_mapper(prompt(A, LION), prompt(A, SITS, LION))
    assert partners[:5] == (0, 1, NO_PARTNER, 2, 3)
    assert aligned(prompt(A, LION), prompt(A, SITS, LION)).own.tolist()[:5] == [0.0, 0.0, 1.0, 0.0, 0.0]


def test_auto_replaces_where_the_words_are_as_many() -> None:
    assert not aligned(prompt(A, LION), prompt(A, LASAGNE)).own.any()
    assert aligned(prompt(A, LION), prompt(A, SITS, LION)).own.any()


def test_replace_refuses_other_counts_in_one_sentence() -> None:
    with pytest.raises(AlignmentError, match="have 2 and 3 words: give as many, or align by refine"):
        aligned(prompt(A, LION), prompt(A, SITS, LION), "replace")


def test_contexts_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="12 and 24 rows"):
        aligned(prompt(A), prompt(A, chunks=2))


def test_padding_beyond_the_source_belongs_to_its_last_row() -> None:
    assert refine_mapper(prompt(A, LION), prompt(A, LION, chunks=2))[CHUNK:] == (CHUNK - 1,) * CHUNK


def test_prompts_without_a_token_in_common_have_no_partners() -> None:
    assert refine_mapper(TokenRows((2, 3), (), 2, 2), TokenRows((4, 5), (), 2, 2)) == (NO_PARTNER, NO_PARTNER)


def test_each_way_is_the_mapper_of_its_name() -> None:
    source, target, longer = prompt(A, LION, SITS), prompt(A, LASAGNE, SITS), prompt(A, LION, ON, SITS)
    for published, mapper in ((False, replace_mapper), (True, published_replace_mapper)):
        found = aligned(source, target, "replace", published)
        assert torch.equal(found.route, mapper(source, target)) and not found.own.any()
    assert torch.equal(aligned(source, target).route, replace_mapper(source, target))
    found = aligned(source, target, "refine")
    partners = refine_mapper(source, target)
    assert found.route.nonzero().tolist() == sorted([p, row] for row, p in enumerate(partners) if p != NO_PARTNER)
    assert found.route.sum(0).tolist() == [1.0 - own for own in found.own.tolist()]
    assert found.own.tolist() == [float(partner == NO_PARTNER) for partner in partners]
    assert torch.equal(aligned(source, longer).route, aligned(source, longer, "refine").route)
    with pytest.raises(ValueError, match="way is 'swap': it should be auto, replace or refine"):
        aligned(source, target, "swap")


def test_where_the_source_is_longer_the_published_padding_takes_its_words() -> None:
    source, target = prompt(A, LION, SITS, ON), prompt(A, ON)
    assert (source.used, target.used) == (6, 4)
    assert refine_mapper(source, target) == (0, 1, 4, 5, 6, 6, *range(6, CHUNK))
    assert refine_mapper(source, target, published=True) == (0, 1, 4, 5, *range(4, CHUNK))
    assert aligned(source, target, "refine").route[:, 4].argmax() == 6
    assert aligned(source, target, "refine", published=True).route[:, 4].argmax() == 4


def test_the_published_mapper_spreads_the_words_that_differ_alone() -> None:
    """Written out: equal words, a word of one token for one of two, and (j, j) after the last of them."""
    mapper = published_replace_mapper(prompt(A, LION, SITS), prompt(A, LASAGNE, SITS))
    expected = torch.zeros(CHUNK, CHUNK, dtype=torch.float64)
    expected[0, 0] = expected[1, 1] = 1.0
    expected[2, 2:4] = 0.5
    for place in range(4, CHUNK):
        expected[place, place] = 1.0
    assert torch.equal(mapper, expected)
    twice = published_replace_mapper(prompt(A, LION, SITS, ON), prompt(A, LASAGNE, SITS, GRASS))
    expected = torch.zeros(CHUNK, CHUNK, dtype=torch.float64)
    expected[0, 0] = expected[1, 1] = expected[3, 4] = expected[4, 5] = 1.0
    expected[2, 2:4] = 0.5
    for place in range(6, CHUNK):
        expected[place, place] = 1.0
    assert torch.equal(twice, expected)


def test_of_alignments_as_good_the_walk_back_steps_in_the_target_first() -> None:
    def rows(*ids: int) -> TokenRows:
        return TokenRows(ids, (), len(ids), len(ids))

    assert refine_mapper(rows(2, 3), rows(2, 2, 3, 3)) == (0, NO_PARTNER, 1, NO_PARTNER)
    assert refine_mapper(rows(2, 2, 3, 3), rows(2, 3)) == (0, 2)
    assert refine_mapper(rows(2, 3), rows(3, 2)) == (1, NO_PARTNER)
