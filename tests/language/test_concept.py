"""Concepts as a part of a plan, as directives and as dicts."""

from __future__ import annotations

from typing import Any

import pytest

from lib_ebca import Concept, DirectiveError, Plan, PlanError
from lib_ebca.language.directives import parse, write
from lib_ebca.language.schedule import concept_table

MADE: Any = Concept


@pytest.mark.parametrize(
    ("text", "concept"),
    [
        ("<concept:blue:Color>", MADE("blue", "Color")),
        ("<Concept: blue : Color >", MADE("blue", "Color")),
        ("<concept:rose-colored:Color=2:Plants=-1>", MADE("rose-colored", {"Color": 2, "Plants": -1})),
        ("<concept:vase:Image Style=.5:from=0.2:until=0.8>", MADE("vase", {"Image Style": 0.5}, start=0.2, until=0.8)),
        ("<concept:vase:Geo-locations:Color=2>", MADE("vase", {"Geo-locations": 1, "Color": 2})),
        ("<concept:shirt#2:Color:clamp=9:FLOOR=0.7>", MADE("shirt", "Color", 2, clamp=9, floor=0.7)),
        ("<concept:*:Color>", MADE("*", "Color")),
        (r"<concept:16\:9:My\:own>", MADE("16:9", "My:own")),
    ],
)
def test_each_form(text: str, concept: Concept) -> None:
    parsed = parse(f"a vase {text}")
    assert parsed.text == "a vase"
    assert parsed.plan == Plan(concepts=(concept,))
    assert parse(write(parsed.plan)).plan == parsed.plan
    assert Plan.from_dict(parsed.plan.to_dict()) == parsed.plan


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<concept:vase>", "it lacks a concept; the form is <concept:WORD:Color>"),
        ("<concept:vase:Color:2>", "a concept's number is written CONCEPT=NUMBER"),
        ("<concept:vase:Color=red>", "Color is 'red': it should be a finite number"),
        ("<concept:vase:Color=inf>", "Color is 'inf': it should be a finite number"),
        ("<concept:vase:Color:color=2>", "color comes twice"),
        ("<concept: :Color>", "a word or phrase of the prompt"),
        ("<concept:vase:Color:from=2>", "from is 2.0: it should be a fraction"),
        ("<concept:vase:Color:clamp=-1>", "clamp is -1.0: it should be a finite number of at least 0"),
        ("<concept:vase:Color:floor=3:clamp=2>", "floor is 3.0: it should be at most clamp"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(DirectiveError) as caught:
        parse(text)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("weights", [None, 3, [], {}, {"": 1}, {"Color": "x"}, {"from": 1}, {"a=b": 1}, ["Color"]])
def test_weights_are_concepts_and_numbers(weights: object) -> None:
    with pytest.raises(PlanError, match="weights"):
        MADE("vase", weights)


def test_a_plan_of_concepts_is_active_and_merges() -> None:
    blue, vase = MADE("blue", "Color"), MADE("vase", "Shape", start=0.2, until=0.2)
    assert Plan(concepts=(blue,)).active
    assert not Plan(concepts=(vase,)).active
    assert Plan(concepts=(blue,)).merged(Plan(concepts=(vase,))).concepts == (blue, vase)


def test_a_window_is_that_of_an_edit() -> None:
    assert concept_table(MADE("blue", "Color"), 4) == (True,) * 5
    assert concept_table(MADE("blue", "Color", start=0.25, until=0.75), 4) == (False, True, True, False, False)
