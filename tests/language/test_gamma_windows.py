"""An edit's strength and its steps may act at different times, as the published alpha_tau and gamma_tau do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_ebca import Edit, Plan, PlanError
from lib_ebca.attention.picture import Timetable
from lib_ebca.language.directives import DirectiveError, parse, write
from lib_ebca.language.presets import preset
from lib_ebca.language.schedule import edit_table
from tests.golden.loop_level import _plan as published_plan


def test_the_steps_have_a_window_of_their_own() -> None:
    edit = Edit("dog", 0.6, 0.4, 0.8, attn=1e-3, norm=2e-3, gamma_start=0.2, gamma_until=0.6)
    assert edit_table(edit, "strength", 5) == (0.0, 0.0, 0.6, 0.6, 0.0, 0.0)
    assert edit_table(edit, "attn", 5) == (0.0, 1e-3, 1e-3, 0.0, 0.0, 0.0)
    assert edit_table(edit, "norm", 5) == (0.0, 2e-3, 2e-3, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("own", "expected"), [({}, (0.4, 0.8)), ({"gamma_start": 0.0}, (0.0, 0.8)), ({"gamma_until": 1}, (0.4, 1.0))]
)
def test_what_is_not_given_is_the_strengths(own: dict[str, float], expected: tuple[float, float]) -> None:
    assert Edit("dog", 0.6, 0.4, 0.8, 1e-3, **own).gamma_window == expected


def test_the_preset_of_faces_is_the_published_one() -> None:
    values = Timetable.of(preset("faces").plan, 100).values
    assert [index for index, each in enumerate(values) if each.strengths[0]] == list(range(35, 101))
    assert [index for index, each in enumerate(values) if each.edit_attn[0]] == list(range(30, 101))
    assert [index for index, each in enumerate(values) if each.edit_norm[0]] == list(range(30, 101))


fractions = st.floats(0, 1, allow_subnormal=False)


@given(st.tuples(fractions, fractions).map(sorted), st.tuples(fractions, fractions).map(sorted))
def test_both_ways_of_writing_it_read_back(own: list[float], gammas: list[float]) -> None:
    edit = Edit("a dog", 0.6, own[0], own[1], 1e-3, 1e-3, gammas[0], gammas[1])
    plan = Plan(edits=(edit,))
    assert parse(write(plan)).plan == plan
    assert Plan.from_dict(plan.to_dict()) == plan


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<edit:dog:0.5:gfrom=2>", "gfrom is 2.0"),
        (
            "<edit:dog:0.5:from=0.5:guntil=0.3>",
            "gfrom is 0.5: it should be at most the end of the gammas' window, which is 0.3",
        ),
        ("<edit:dog:0.5:gfrom=0.9:until=0.5>", "gfrom"),
        ("<edit:dog:0.5:guntil=x>", "guntil is 'x'"),
    ],
)
def test_windows_that_are_none_are_refused(text: str, says: str) -> None:
    with pytest.raises(DirectiveError, match=says):
        parse(text)
    with pytest.raises(PlanError, match="gamma_start"):
        Edit("dog", 1.0, gamma_start=float("nan"))


@pytest.mark.parametrize("schedule", [{"name": "linear", "ratio": 0.001}, {"name": "exp", "ratio": 0.9}])
def test_the_vectors_format_reads_every_schedule(schedule: dict[str, object]) -> None:
    meta = {"gamma_schedule": {"gamma_attn_src": 0.01, "gamma_norm_src": 0.02, **schedule}}
    update = published_plan(meta).update
    assert update is not None
    assert (update.schedule, update.ratio) == (schedule["name"], schedule["ratio"])
