"""Prompts, halves and seeds."""

from __future__ import annotations

import pytest

from benchmarks.alignment.prompts import (
    COLOURED,
    HALVES,
    HELD_OUT,
    ONE,
    SHAPES_SETS,
    THREE,
    THREES,
    TWO,
    Prompt,
    items,
    shapes_prompts,
)
from world.shapes.scenes import COLOURS, SHAPES, combination_held_out, pair_held_out


@pytest.mark.parametrize("group", SHAPES_SETS)
def test_halves_share_nothing_and_make_the_whole(group: str) -> None:
    halves = [shapes_prompts(group, half) for half in HALVES]
    objects = [{frozenset(p.wanted) for p in half} for half in halves]
    assert not objects[0] & objects[1]
    whole = {p.text for p in shapes_prompts(group)}
    assert {p.text for half in halves for p in half} == whole
    assert sum(map(len, halves)) == len(whole)
    assert abs(len(halves[0]) - len(halves[1])) <= 2


def test_what_is_asked_is_what_is_written() -> None:
    texts = {p.text: p for p in shapes_prompts(COLOURED)}
    prompt = next(p for text, p in texts.items() if text.startswith("an orange"))
    first, second = prompt.shapes
    assert (
        prompt.text
        == f"an orange {first.shape} and {'an' if second.colour == 'orange' else 'a'} {second.colour} {second.shape}"
    )
    assert prompt.nouns == (first.shape, second.shape)
    assert {p.text for p in shapes_prompts(TWO)} == {f"a {a} and a {b}" for a in SHAPES for b in SHAPES if a != b}


def test_held_out_combinations_are_held_out() -> None:
    def numbers(prompt: Prompt) -> list[tuple[int, int]]:
        return [(COLOURS.index(str(w.colour)), SHAPES.index(str(w.shape))) for w in prompt.shapes]

    for group, held_out in ((COLOURED, False), (HELD_OUT, True)):
        for prompt in shapes_prompts(group):
            first, second = numbers(prompt)
            assert combination_held_out(first, second) == held_out
            assert first[0] != second[0] and first[1] != second[1]
    assert not any(pair_held_out(*numbers(p)[0]) for p in shapes_prompts(ONE))


def test_three_objects_have_nothing_in_common_and_are_known_one_by_one() -> None:
    prompts = shapes_prompts(THREE)
    assert len(prompts) == THREES
    for prompt in prompts:
        pairs = [(COLOURS.index(str(w.colour)), SHAPES.index(str(w.shape))) for w in prompt.shapes]
        assert len(pairs) == len({c for c, _ in pairs}) == len({s for _, s in pairs}) == 3
        assert not any(pair_held_out(*pair) for pair in pairs)
        assert prompt.text.count(" and ") == 2


def test_items_take_prompts_in_turn_and_seeds_by_the_round() -> None:
    prompts = shapes_prompts(ONE)[:3]
    made = items(ONE, prompts, 7, first_seed=10)
    assert [(prompts.index(i.prompt), i.seed) for i in made] == [
        (0, 10),
        (1, 10),
        (2, 10),
        (0, 11),
        (1, 11),
        (2, 11),
        (0, 12),
    ]
    assert len({item.noise_seed for item in made}) == 7
    assert all(0 <= item.noise_seed < 2**63 for item in made)


def test_unknown_sets_and_halves_are_named() -> None:
    with pytest.raises(ValueError, match="'four' is not one of one, two"):
        shapes_prompts("four")
    with pytest.raises(ValueError, match="'middle'"):
        shapes_prompts(ONE, "middle")
