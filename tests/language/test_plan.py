from __future__ import annotations

import dataclasses
import json
import math
import pickle
import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lib_ebca
from lib_ebca import PlanError
from lib_ebca.language.concept import RESERVED
from lib_ebca.language.directives import parse, write

# Untyped, for these tests hand in what the types forbid.
Boost: Any = lib_ebca.Boost
ContextUpdate: Any = lib_ebca.ContextUpdate
Edit: Any = lib_ebca.Edit
Plan: Any = lib_ebca.Plan

NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, "1", None, True, np.bool_(True), 1j, [1.0], 10**400]


def plans() -> st.SearchStrategy[lib_ebca.Plan]:
    """Plans of every kind that pass validation."""
    number = st.floats(allow_nan=False, allow_infinity=False)
    window = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
    text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text.strip() != "")
    text |= st.text(r":<>\#()*= .0159ae" + "\n", min_size=1).filter(lambda text: text.strip() != "")
    fixed = {"attn": number, "norm": number, "prior": st.sampled_from(["published", "paper"])}
    update = st.one_of(
        st.builds(ContextUpdate, **fixed, schedule=st.sampled_from(["constant", "step", "reverse_step"])),
        st.builds(ContextUpdate, **fixed, schedule=st.sampled_from(["linear", "exp"]), ratio=number),
    )
    update = st.builds(lambda u, w: dataclasses.replace(u, start=w[0], until=w[1]), update, window)
    edit = st.builds(
        lambda text, strength, w, attn, norm: Edit(text, strength, w[0], w[1], attn, norm),
        text,
        st.floats(-0.02, 3),
        window,
        st.just(0.0) | number,
        st.just(0.0) | number,
    )
    # "shirt#0" is refused: what follows the last # would be the number of the occurrence.
    word = text.filter(lambda word: not word.strip().startswith("*") and not re.search(r"#0+\s*$", word))
    boost = st.builds(Boost, word, st.floats(0, 1e9), st.none() | st.integers(1, 999_999))
    edits = st.lists(edit, max_size=5)
    concepts = st.lists(_concepts(word, number, window), max_size=2)
    lively = st.none() | update.filter(lambda u: u.attn != 0)
    excites = st.lists(_excites(word), max_size=2)
    boosted = st.builds(Plan, lively, edits, st.lists(boost, max_size=3), concepts, excites)
    return boosted | st.builds(Plan, st.none() | update, edits, st.just(()), concepts, excites)


def _excites(word: Any) -> st.SearchStrategy[lib_ebca.Excite]:
    occurrence = st.none() | st.integers(1, 999_999)
    return st.builds(lib_ebca.Excite, word, occurrence, st.floats(0, 1e9), st.floats(0, 1), st.booleans())


def _concepts(word: Any, number: Any, window: Any) -> st.SearchStrategy[lib_ebca.Concept]:
    name = word.filter(lambda name: "=" not in name and name.strip().lower() not in RESERVED)
    weights = st.lists(st.tuples(name, number), min_size=1, max_size=3, unique_by=lambda pair: pair[0].strip().lower())
    return st.builds(
        lambda word, weights, nth, w, clamp: lib_ebca.Concept(word, weights, nth, w[0], w[1], clamp),
        word,
        weights,
        st.none() | st.integers(1, 999_999),
        window,
        st.none() | st.floats(0, 1e9),
    )


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize(
    ("kind", "given_fields", "field"),
    [
        *((ContextUpdate, {}, name) for name in ("attn", "norm", "start", "until")),
        (ContextUpdate, {"schedule": "exp"}, "ratio"),
        *((Edit, {"text": "dog", "strength": 1}, name) for name in ("strength", "start", "until", "attn", "norm")),
        (Boost, {"word": "dog", "factor": 1}, "factor"),
    ],
)
def test_a_number_that_is_none_is_refused_by_name(
    kind: Any, given_fields: dict[str, Any], field: str, value: Any
) -> None:
    with pytest.raises(PlanError) as caught:
        kind(**{**given_fields, field: value})
    assert caught.value.field == field
    assert caught.value.value is value
    assert str(caught.value).startswith(f"{field} is ") and caught.value.expected in str(caught.value)
    assert repr(value)[:40] in str(caught.value)


@pytest.mark.parametrize(
    ("make", "field", "message"),
    [
        (lambda: Edit("  ", 1), "text", "text is '  ': it should be a prompt that is not empty"),
        (lambda: Edit(3, 1), "text", "text is 3: it should be a prompt that is not empty"),
        (lambda: Edit("dog", 1, start=1.5), "start", "start is 1.5: it should be a fraction of the pass, from 0 to 1"),
        (lambda: Edit("dog", 1, until=-1), "until", "until is -1.0: it should be a fraction of the pass, from 0 to 1"),
        (lambda: Edit("dog", 1, 0.5, 0.25), "start", "start is 0.5: it should be at most until, which is 0.25"),
        (lambda: Boost("", 1), "word", "word is '': it should be a word or phrase of the prompt, or *"),
        (lambda: Boost("dog", -2), "factor", "factor is -2.0: it should be a finite number of at least 0"),
        (lambda: Boost("dog", 2, 0), "occurrence", "a whole number from 1"),
        (lambda: Boost("dog", 2, True), "occurrence", "a whole number from 1"),
        (lambda: Boost("dog", 2, 1.0), "occurrence", "a whole number from 1"),
        (lambda: Boost("dog#0", 2), "occurrence", "occurrence is 0"),
        (lambda: Boost("*#2", 2), "occurrence", "left out for *"),
        (lambda: ContextUpdate(schedule="cosine"), "schedule", "one of constant, step, reverse_step, linear, exp"),
        (lambda: ContextUpdate(schedule=None), "schedule", "schedule is None"),
        (lambda: ContextUpdate(prior="mine"), "prior", "prior is 'mine': it should be one of published, paper"),
        (lambda: ContextUpdate(schedule="linear"), "ratio", "which the schedule linear needs"),
        (lambda: ContextUpdate(ratio=1), "ratio", "left out, for the schedule constant has none"),
        (lambda: Plan(update=0.01), "update", "update is 0.01: it should be a ContextUpdate or None"),
        (lambda: Plan(edits=Edit("dog", 1)), "edits", "a list or tuple of Edit"),
        (lambda: Plan(edits=["dog"]), "edits[0]", "edits[0] is 'dog': it should be of type Edit"),
        (lambda: Plan(boosts="dog"), "boosts", "a list or tuple of Boost"),
        (lambda: Plan(ContextUpdate(attn=0), boosts=[Boost("a", 2)]), "update.attn", "other than 0"),
        (lambda: Plan.from_dict({"edit": []}), "plan", "given with 'edit'"),
        (lambda: Plan.from_dict([]), "plan", "a mapping with the keys update, edits, boosts"),
        (lambda: Plan.from_dict({"update": {"gamma": 1}}), "update", "update is given with 'gamma'"),
        (lambda: Plan.from_dict({"edits": [{"text": "dog"}]}), "edits[0].strength", "missing"),
        (lambda: Plan.from_dict({"edits": {"text": "dog"}}), "edits", "a list of mappings"),
        (lambda: Plan.from_dict({"edits": ["dog"]}), "edits[0]", "a mapping with the keys text, strength"),
        (lambda: Plan.from_dict({"boosts": [{"word": "a", "factor": -1}]}), "boosts[0].factor", "at least 0"),
    ],
)
def test_each_field_says_what_would_be_right(make: Any, field: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        make()
    assert caught.value.field == field
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_of_every_kind_make_equal_plans() -> None:
    numbers = (1, 1.0, np.float32(1), np.int64(1), Fraction(1))
    assert {Edit("dog", number) for number in numbers} == {Edit(" dog\n", 1)}
    assert {type(Edit("dog", number).strength) for number in numbers} == {float}
    assert repr(ContextUpdate(-0.0, 0)) == repr(ContextUpdate(0, -0.0))
    assert Plan(edits=[Edit("dog", 1)]) == Plan(edits=(Edit("dog", 1),))
    assert hash(Plan(edits=[Edit("dog", 1)])) == hash(Plan(edits=(Edit("dog", 1),)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Edit("dog", 1).strength = 2


def test_a_numbered_word_is_that_occurrence() -> None:
    assert Boost("shirt#2", 2) == Boost("shirt", 2, 2)
    assert Boost("a red shirt #12", 2) == Boost("a red shirt", 2, 12)
    assert Boost("#2", 2) == Boost("#2", 2, None) and Boost("#2", 2).occurrence is None
    assert Boost("shirt#2", 2, 3).word == "shirt#2"


@pytest.mark.parametrize(
    "strengths", [(-0.9,), (-0.3, -0.6), (1.0, -1.9), (-5.0, 4.1), (0.1,) * 9 + (-1.8,), (1e308, 1e308, -1e308)]
)
def test_a_denominator_of_a_tenth_will_do(strengths: tuple[float, ...]) -> None:
    assert len(Plan(edits=[Edit("dog", strength) for strength in strengths]).edits) == len(strengths)


def test_the_denominator_is_looked_at_throughout_the_pass() -> None:
    one, two = Edit("dog", -0.6, 0.0, 0.5), Edit("cat", -0.6, 0.5, 1.0)
    assert Plan(edits=[one, two]).active
    overlapping = Edit("cat", -0.6, 0.25, 0.75)
    bystander = Edit("fox", -0.1, 0.9)
    with pytest.raises(PlanError) as caught:
        Plan(edits=[bystander, one, overlapping])
    assert caught.value.field == "edits"
    assert caught.value.value == (one, overlapping)
    assert "'dog' (-0.6), 'cat' (-0.6), acting from 0.25 to 0.5 of the pass" in str(caught.value)
    assert "1 + their strengths is -0.2" in str(caught.value) and "at least 0.1" in str(caught.value)
    with pytest.raises(PlanError, match=r"acting from 0 to 0\.25 of the pass"):
        Plan(edits=[Edit("dog", -1e308), Edit("cat", -1e308), Edit("fox", 3, 0.25)])


def test_the_spare_evaluation_at_the_end_counts_too() -> None:
    with pytest.raises(PlanError, match="acting from 1 to 1"):
        Plan(edits=[Edit("dog", -0.95, start=1.0)])
    assert not Plan(edits=[Edit("dog", -0.95, start=0.5, until=0.5)]).active


def test_active_means_that_something_changes() -> None:
    assert not Plan().active
    assert not Plan(ContextUpdate(0, 0)).active
    assert not Plan(ContextUpdate(start=0.5, until=0.5)).active
    assert not Plan(edits=[Edit("dog", 0, attn=1)]).active
    assert Plan(ContextUpdate(0, 0.02)).active
    assert Plan(ContextUpdate(start=1.0)).active
    assert Plan(edits=[Edit("dog", -0.1)]).active
    assert Plan(boosts=[Boost("dog", 2)]).active


def test_a_boost_brings_the_published_update_along() -> None:
    boost = Boost("dog", 2)
    assert Plan(boosts=[boost]) == Plan(ContextUpdate(0.01, 0.02), boosts=[boost])
    mine = Plan(ContextUpdate(0.025, 0.025))
    # What came along with the boost is not what the other plan asked for.
    assert mine.merged(Plan(boosts=[boost])) == Plan(ContextUpdate(0.025, 0.025), boosts=[boost])
    assert Plan(boosts=[boost]).merged(mine) == Plan(ContextUpdate(0.025, 0.025), boosts=[boost])
    assert mine.merged(Plan(ContextUpdate(), boosts=[boost])).update == ContextUpdate()
    assert Plan.from_dict(Plan(boosts=[boost]).to_dict()).stated_update is None


def test_merging_appends_in_order() -> None:
    dog, cat, fox = (Edit(name, 0.1) for name in ("dog", "cat", "fox"))
    merged = Plan(edits=[dog], boosts=[Boost("a", 2)]).merged(Plan(edits=[cat, fox], boosts=[Boost("b", 3)]))
    assert merged.edits == (dog, cat, fox)
    assert merged.boosts == (Boost("a", 2), Boost("b", 3))
    with pytest.raises(PlanError):
        Plan(edits=[Edit("dog", -0.6)]).merged(Plan(edits=[Edit("cat", -0.6)]))


def test_a_dict_leaves_defaults_out() -> None:
    plan = Plan(ContextUpdate(), [Edit("dog", 0.75, start=0.5)], [Boost("shirt#2", 2.5)])
    assert Plan().to_dict() == {}
    assert plan.to_dict() == {
        "update": {},
        "edits": [{"text": "dog", "strength": 0.75, "start": 0.5}],
        "boosts": [{"word": "shirt", "factor": 2.5, "occurrence": 2}],
    }


@given(plans())
def test_a_plan_survives_dict_json_text_and_pickle(plan: lib_ebca.Plan) -> None:
    assert Plan.from_dict(plan.to_dict()) == plan
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert parse(write(plan)).plan == plan
    assert pickle.loads(pickle.dumps(plan)) == plan


def test_an_error_survives_pickle_and_stays_short() -> None:
    with pytest.raises(PlanError) as caught:
        Edit("dog", "x" * 5000)
    assert len(str(caught.value)) < 200
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.field, copy.value) == (str(caught.value), caught.value.field, caught.value.value)
