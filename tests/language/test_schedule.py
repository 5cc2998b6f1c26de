from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_ebca import ContextUpdate, Edit, PlanError
from lib_ebca.language.plan import Concept
from lib_ebca.language.schedule import concept_table, edit_table, strength_tables, table, update_table

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "gamma_tables.json").read_text())["tables"]


def single(values: tuple[float, ...]) -> list[float]:
    return [struct.unpack("f", struct.pack("f", value))[0] for value in values]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['name']}-{case['num_time_steps']}")
def test_golden_tables_exactly(case: dict[str, Any]) -> None:
    given_values = case["kwargs"]
    got = table(
        case["name"],
        given_values["gamma_src"],
        case["num_time_steps"],
        given_values.get("gamma_tau"),
        given_values.get("ratio"),
    )
    assert len(got) == case["length"]
    assert single(got) == case["values"]


def test_every_schedule_has_a_golden_table() -> None:
    assert {case["name"] for case in GOLDEN} == {"constant", "step", "reverse_step", "linear", "exp"}


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 50])
def test_the_update_follows_the_golden_tables(steps: int) -> None:
    assert update_table(ContextUpdate(0.01, 0.02), "norm", steps) == (0.02,) * (steps + 1)
    step = ContextUpdate(start=0.3, schedule="step")
    assert update_table(step, "attn", steps) == table("step", 0.01, steps, 0.3)
    early = ContextUpdate(until=0.5, schedule="reverse_step")
    # A single step is held by no window but one to the end, and is acted in all the same.
    assert update_table(early, "attn", steps) == table("reverse_step", 0.01, steps, 0.5 if steps > 1 else 1.0)
    # As published: with reverse_step and no end, PNDM's spare last evaluation gets nothing.
    never_off = update_table(ContextUpdate(schedule="reverse_step"), "attn", steps)
    assert never_off == (0.01,) * steps + (0.0,)
    exp = ContextUpdate(schedule="exp", ratio=0.9, start=0.25, until=0.75)
    first, last = math.floor(steps * 0.25), math.floor(steps * 0.75)
    free = table("exp", 0.01, steps, ratio=0.9)
    last = max(last, first + 1)
    assert update_table(exp, "attn", steps) == tuple(v if first <= i < last else 0.0 for i, v in enumerate(free))


def test_a_gamma_of_zero_stays_zero() -> None:
    assert update_table(ContextUpdate(0, 0.02, schedule="linear", ratio=0.1), "attn", 10) == (0.0,) * 11


def test_an_edit_acts_in_its_window_alone() -> None:
    edit = Edit("dog", -0.65, start=0.5, until=0.8, attn=6e-4)
    assert edit_table(edit, "strength", 10) == (0.0,) * 5 + (-0.65,) * 3 + (0.0,) * 3
    assert edit_table(edit, "attn", 10) == (0.0,) * 5 + (6e-4,) * 3 + (0.0,) * 3
    assert edit_table(edit, "norm", 10) == (0.0,) * 11
    assert edit_table(Edit("dog", 1, start=0.5), "strength", 3) == (0.0, 1.0, 1.0, 1.0)
    assert edit_table(Edit("dog", 1, start=1.0), "strength", 3) == (0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("start", "until", "steps", "expected"),
    [
        (0.0, 0.2, 4, [0]),
        (0.3, 0.4, 4, [1]),
        (0.9, 0.95, 4, [3]),
        (0.0, 0.5, 1, [0]),
        (0.6, 0.7, 1, [0]),
        (1.0, 1.0, 4, [3, 4]),
        (0.3, 0.3, 4, []),
        (0.0, 0.0, 1, []),
        (0.25, 0.5, 4, [1]),
        (0.0, 1.0, 2, [0, 1, 2]),
    ],
)
def test_a_window_that_holds_no_step_acts_in_the_one_it_lies_in(
    start: float, until: float, steps: int, expected: list[int]
) -> None:
    found = edit_table(Edit("dog", 1, start, until), "strength", steps)
    assert [number for number, value in enumerate(found) if value] == expected
    for schedule in ("constant", "step", "linear"):
        update = ContextUpdate(1, 0, start, until, schedule, 0.1 if schedule == "linear" else None)
        assert [number for number, value in enumerate(update_table(update, "attn", steps)) if value] == expected
    early = update_table(ContextUpdate(1, 0, start, until, "reverse_step"), "attn", steps)
    assert [number for number, value in enumerate(early) if value] == [each for each in expected if each < steps]
    concept = concept_table(Concept("cat", (("Color", 1.0),), start=start, until=until), steps)
    assert [number for number, value in enumerate(concept) if value] == expected


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_every_window_of_some_length_holds_a_step(steps: int, one: float, other: float) -> None:
    start, until = sorted((one, other))
    held = [number for number, on in enumerate(edit_table(Edit("a", 1, start, until), "strength", steps)) if on]
    assert bool([number for number in held if number < steps]) == (start < until or until == 1.0)
    assert held == list(range(held[0], held[-1] + 1)) if held else True


def test_edits_that_few_steps_bring_together_are_refused() -> None:
    edits = [Edit("a", -0.6, 0.0, 0.1), Edit("b", -0.6, 0.1, 0.2)]
    assert strength_tables(edits, 10)[0][0] == -0.6
    with pytest.raises(PlanError, match=r"in step 1 of 4 their sum is -1\.2"):
        strength_tables(edits, 4)


@given(st.integers(1, 200), st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted))
def test_neighbouring_windows_never_overlap_and_leave_no_gap(steps: int, edges: list[float]) -> None:
    start, middle, until = edges
    both = zip(
        edit_table(Edit("a", 1, start, middle), "strength", steps),
        edit_table(Edit("b", 1, middle, until), "strength", steps),
        strict=True,
    )
    long = math.floor(steps * start) < math.floor(steps * middle) < math.floor(steps * until)
    if middle < 1.0 and long:
        whole = edit_table(Edit("c", 1, start, until), "strength", steps)
        assert tuple(a + b for a, b in both) == whole


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("cosine", 0.01, 10), "schedule"),
        (("constant", 0.01, 0), "steps"),
        (("constant", 0.01, True), "steps"),
        (("constant", 0.01, 2.5), "steps"),
        (("step", 0.01, 10), "tau"),
        (("exp", 0.01, 10), "ratio"),
        (("linear", 0.01, 10), "ratio"),
        (("exp", 0.01, 50, None, 1e10), "ratio"),
        (("exp", 1e300, 2, None, 1e10), "ratio"),
        (("linear", 0.01, 50, None, 1e38), "ratio"),
        (("linear", 0.01, 50, None, 1e308), "ratio"),
    ],
)
def test_bad_tables_are_refused_by_name(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(PlanError) as caught:
        table(*arguments)
    assert caught.value.field == field


def test_strengths_that_no_average_can_be_made_with_are_refused() -> None:
    strongest = (Edit("dog", 1e300), Edit("cat", 1e300), Edit("fox", -1e300))
    assert strength_tables(strongest, 2) == [(edit.strength,) * 3 for edit in strongest]
    with pytest.raises(PlanError, match=r"strength is 1e\+308: it should be at most 1e\+300"):
        strength_tables((Edit("dog", 1e308), Edit("cat", 1e308)), 2)
