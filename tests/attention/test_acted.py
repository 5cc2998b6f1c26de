"""The sentence on what a plan did, from the numbers that the pass was run with."""

from __future__ import annotations

import pytest

from lib_ebca.attention.acted import acted
from lib_ebca.attention.picture import Timetable
from lib_ebca.language.directives import parse
from lib_ebca.language.plan import Plan


def told(prompt: str, evaluations: int = 10, steps: int = 10) -> str:
    plan = parse(prompt).plan
    table = Timetable.of(plan, steps)
    return acted(plan, [table.at(number) for number in range(evaluations)], 16)


def test_each_part_is_told_with_its_evaluations() -> None:
    assert told(
        "a red cat <bcu:0.01:0.02:until=0.5> <boost:cat#1:2> <edit:dog:0.75:from=0.7> <edit:hat:-0.25> "
        "<concept:red:Color=2:Plants=-1:from=0.2>"
    ) == (
        "EBCA acted in 16 layers; evaluations: update (0.01, 0.02, cat#1 at 2) in 5 of 10, "
        "edit dog (+0.75) in 3 of 10, edit hat (-0.25) in 10 of 10, concept red (Color 2, Plants -1) in 8 of 10."
    )


def test_a_pass_that_was_cut_short_shows() -> None:
    assert "edit dog (+0.75) in 0 of 4" in told("<edit:dog:0.75:from=0.7>", evaluations=4)


def test_what_does_not_act_in_layers_is_not_told() -> None:
    assert told("a cat <excite:cat>") == ""
    assert acted(Plan(), [], 0) == ""


def test_an_update_acts_by_either_of_its_parts() -> None:
    assert "update (0, 0.02) in 5 of 10" in told("<bcu:0:0.02:until=0.5>")
    assert "update (0.01, 0) in 5 of 10" in told("<bcu:0.01:0:until=0.5>")


def test_parts_at_rest_are_not_told() -> None:
    assert told("<bcu:0:0> <edit:dog:0>") == ""
    assert "edit hat" in told("<edit:dog:0> <edit:hat:0.5>") and "dog" not in told("<edit:dog:0> <edit:hat:0.5>")


@pytest.mark.parametrize(("length", "whole"), [(40, True), (41, False)])
def test_long_edits_are_told_in_short(length: int, whole: bool) -> None:
    text = "ab" * (length // 2) + "c" * (length % 2)
    assert (f"edit {text} (+0.75)" in told(f"<edit:{text}:0.75>")) is whole


def test_every_word_of_a_boost_is_told() -> None:
    assert "update (0.01, 0.02, cat at 2, dog#2 at 0.5) in 10 of 10" in told(
        "a cat dog dog <bcu:0.01:0.02> <boost:cat:2> <boost:dog#2:0.5>"
    )
