"""The part of a plan that lets a picture follow another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_ebca.language.checks import PlanError
from lib_ebca.language.follow import Follow
from lib_ebca.language.plan import ContextUpdate, Plan

shares = st.floats(0, 1)
spans = st.one_of(shares, st.tuples(shares, shares).map(lambda ends: (min(ends), max(ends))))
words = st.text("abc", min_size=1, max_size=4)
follows = st.builds(
    Follow,
    st.integers(0, 9),
    cross=spans,
    self_=spans,
    words=st.dictionaries(words, spans, max_size=2),
    weights=st.dictionaries(words, st.floats(-5, 5), max_size=2),
    keep=st.lists(words, max_size=2).map(tuple),
    blend=st.lists(words, max_size=2).map(tuple),
    threshold=shares,
    align=st.sampled_from(["auto", "replace", "refine"]),
    pixels=st.sampled_from([None, 256]),
    published=st.booleans(),
)


@given(follows)
def test_a_plan_goes_through_json(follow: Follow) -> None:
    plan = Plan(ContextUpdate(), follow=follow)
    back = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert back == plan
    assert hash(back) == hash(plan)


def test_defaults_are_left_out() -> None:
    assert Plan(follow=Follow(0)).to_dict() == {"follow": {"source": 0}}


def test_the_stated_following_wins() -> None:
    one, two = Plan(follow=Follow(0)), Plan(follow=Follow(1))
    assert one.merged(two) == two
    assert one.merged(Plan()) == one
    assert one.active


@pytest.mark.parametrize(
    "asked",
    [
        {"source": -1},
        {"source": True},
        {"cross": 1.5},
        {"cross": (0.8, 0.2)},
        {"self_": "much"},
        {"words": {"red": 2}},
        {"words": ["red"]},
        {"weights": {"red": float("nan")}},
        {"weights": 5},
        {"keep": [""]},
        {"blend": 3},
        {"threshold": 2},
        {"align": "guess"},
        {"pixels": 1.5},
        {"published": 1},
    ],
)
def test_bad_fields_are_named(asked: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=next(iter(asked))):
        Follow(**({"source": 0} | asked))


def test_a_plan_takes_a_follow_alone() -> None:
    with pytest.raises(PlanError, match="follow is 0: it should be a Follow or None"):
        Plan(follow=0)  # type: ignore[arg-type]  # the wrong type is what is tested


def test_words_and_weights_are_pairs_however_they_were_given() -> None:
    follow = Follow(0, words={"cat": 0.4}, weights={"red": 2.0, "hat": -1.0})
    assert follow.word_weights == (("red", 2.0), ("hat", -1.0))
    assert [word for word, _ in follow.word_spans] == ["cat"]
