"""Rates, intervals and tests against values worked out by hand or known from the literature."""

from __future__ import annotations

import math

import numpy as np
import pytest

from world.statistics import compare, holm, mean, paired_difference, rate, sign_test, wilson


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion": 81/263 and 0/20.
    estimate = wilson(81, 263)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.2553, 0.3662)
    none = wilson(0, 20)
    assert (none.low, round(none.high, 4)) == (0.0, 0.1611)
    with pytest.raises(ValueError, match="no pictures"):
        wilson(0, 0)


def test_sign_test_is_mcnemars_exact_test() -> None:
    assert sign_test(0, 0) == 1.0
    assert sign_test(5, 5) == 1.0
    assert sign_test(0, 5) == pytest.approx(2 / 32)
    assert sign_test(8, 2) == sign_test(2, 8) == pytest.approx(2 * (1 + 10 + 45) / 1024)


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_mean_of_independent_values_has_the_textbook_interval() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 900)
    estimate = mean(list(values), list(range(900)))
    half = 1.96 * values.std() / 30
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.01)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.01)


def test_copies_of_a_prompt_add_no_certainty() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0] * 5
    prompts = [f"prompt {i}" for i in range(40)]
    once = mean(values, prompts)
    ten_times = mean(values * 10, prompts * 10)
    assert ten_times.high - ten_times.low == pytest.approx(once.high - once.low)
    assert ten_times.n == 400
    single = mean([1.0, 0.0], ["a", "a"])
    assert (single.low, single.high) == (-math.inf, math.inf)


def test_the_interval_does_not_depend_on_the_process() -> None:
    assert mean([0.0, 1.0, 1.0], ["a", "b", "c"]) == mean([0.0, 1.0, 1.0], ["x", "y", "z"])


def test_compare_is_paired() -> None:
    ours, theirs = [1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]
    comparison = compare(ours, theirs, ["a", "b", "c", "d"])
    assert (comparison.wins, comparison.losses) == (2, 1)
    assert comparison.difference.value == pytest.approx(0.25)
    assert comparison.p == 1.0
    scores = compare([0.3, 0.5], [0.2, 0.4], ["a", "b"], share=False).difference
    assert (scores.value, scores.low, scores.high) == pytest.approx((0.1, 0.1, 0.1))


def test_paired_difference_by_hand() -> None:
    # Adding one to each kind of disagreement: 11 and 5 of 102.
    middle, spread = 6 / 102, math.sqrt((16 / 102 - (6 / 102) ** 2) / 102)
    estimate = paired_difference(10, 4, 100)
    assert estimate.value == pytest.approx(0.06)
    assert (estimate.low, estimate.high) == pytest.approx((middle - 1.959964 * spread, middle + 1.959964 * spread))


def test_agreement_on_few_pictures_is_no_certainty() -> None:
    ones = [1.0] * 8
    difference = compare(ones, ones, list(range(8))).difference
    assert difference.value == 0.0 and difference.low < -0.2 and difference.high > 0.2
    assert rate(ones, list(range(8))) == wilson(8, 8)


def test_shares_of_few_prompts_are_as_uncertain_as_the_prompts() -> None:
    answers, prompts = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0] * 50, ["a", "b", "c", "d", "e", "f"] * 50
    assert rate(answers, prompts).high - rate(answers, prompts).low > 0.6
    assert rate([0.0, 1.0], ["a", "a"]) == wilson(1, 2)


def test_the_interval_of_a_difference_covers() -> None:
    """About 95 of 100 intervals hold the truth; fewer than 88 would happen by chance less than once in a thousand."""
    draw = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        theirs = (draw.random(150) < 0.4).astype(float)
        ours = np.where(draw.random(150) < 0.3, (draw.random(150) < 0.6), theirs).astype(float)
        difference = compare(list(ours), list(theirs), list(range(150))).difference
        covered += difference.low <= 0.3 * (0.6 - 0.4) <= difference.high
    assert covered >= 88
