"""--bcu, --edit and --boost: the directives, spelt as options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.options import plan_from_options, with_bcu_value
from lib_ebca import Boost, ContextUpdate, Edit, Plan
from lib_ebca.studio.errors import UserError


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["--bcu", "a cat"], ["--bcu=", "a cat"]),
        (["a cat", "--bcu"], ["a cat", "--bcu="]),
        (["--bcu", "0.01:0.02", "a cat"], ["--bcu=0.01:0.02", "a cat"]),
        (["--bcu", "-1e-2:.5:from=0.2", "a cat"], ["--bcu=-1e-2:.5:from=0.2", "a cat"]),
        (["--bcu", "nan:0.02"], ["--bcu=nan:0.02"]),
        (["--bcu=0.01:0.02", "a cat"], ["--bcu=0.01:0.02", "a cat"]),
        (["--bcu", "--steps", "3"], ["--bcu=", "--steps", "3"]),
        (["--bcu", "10:30 in the morning"], ["--bcu=", "10:30 in the morning"]),
        (["--bcu", "--", "1:2"], ["--bcu=", "--", "1:2"]),
        (["--", "--bcu", "1:2"], ["--", "--bcu", "1:2"]),
    ],
)
def test_bcu_takes_the_next_argument_only_if_it_is_two_numbers(typed: list[str], read: list[str]) -> None:
    assert with_bcu_value(typed) == read


def test_options_are_directives() -> None:
    plan = plan_from_options("0.01:0.03:until=0.5", ["dog:0.75:from=0.5", "a cat: -0.5"], ["shirt#2:2.5"])
    assert plan == Plan(
        ContextUpdate(0.01, 0.03, until=0.5),
        (Edit("dog", 0.75, start=0.5), Edit("a cat", -0.5)),
        (Boost("shirt", 2.5, occurrence=2),),
    )
    assert plan_from_options("", None, None).update == ContextUpdate()
    assert plan_from_options(None, None, None) == Plan()


def test_strengths_are_judged_together() -> None:
    plan = plan_from_options(None, ["cat:-1.2", "dog:0.75"], None)
    assert [edit.strength for edit in plan.edits] == [-1.2, 0.75]
    with pytest.raises(ValueError, match=r"1 \+ their strengths is -0.2"):
        plan_from_options(None, ["cat:-1.2"], None)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("edit", "dog", "<edit:TEXT:STRENGTH>"),
        ("edit", "dog:0.5:when=1", "when"),
        ("edit", "a:0.5> b:0.5", r"\<"),
        ("edit", "a < b:0.5", r"\<"),
        ("edit", "dog:nan", "finite"),
        ("boost", "cat:-1", "at least 0"),
        ("bcu", "inf:0.02", "finite"),
        ("bcu", "0.01", "<bcu:ATTN:NORM>"),
    ],
)
def test_what_cannot_be_read_is_quoted(option: str, value: str, says: str) -> None:
    given: dict[str, list[str] | None] = {"edit": None, "boost": None, option: [value]}
    with pytest.raises(UserError) as caught:
        plan_from_options(value if option == "bcu" else None, given["edit"], given["boost"])
    assert str(caught.value).startswith(f"--{option} {value!r}")
    assert says in str(caught.value)


@given(st.text(max_size=40))
def test_any_option_value_is_read_or_refused_with_a_sentence(value: str) -> None:
    try:
        plan = plan_from_options(None, [value], None)
    except ValueError:
        return  # a lone strength at or below -0.9: the plan's own error
    except UserError as error:
        assert "--edit" in str(error)
        return
    assert len(plan.edits) == 1
