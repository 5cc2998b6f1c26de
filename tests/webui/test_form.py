"""The accordion's one model: arguments, names, boosts and plans there and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib_ebca.language.checks import PlanError
from lib_ebca.language.plan import Boost, ContextUpdate, Edit, Plan
from lib_ebca.webui import boost_row
from lib_ebca.webui.form import EDITS, FIELDS, EditRow, Form
from lib_ebca.webui.presets import PRESETS, applied
from tests.webui.host import ROOT, started

numbers = st.floats(-2, 2, allow_nan=False).map(lambda x: round(x, 4))
texts = st.text(min_size=1).filter(lambda text: bool(text.strip())).map(str.strip)
boosts = st.builds(
    Boost,
    texts.filter(lambda text: text != "*" and "#" not in text and "\\" not in text),
    st.floats(0, 5).map(lambda x: round(x, 3)),
    st.none() | st.integers(1, 9),
)
NONE = Form().edits
ends = st.none() | st.floats(0, 0.5).map(lambda x: round(x, 2))
edits = st.builds(Edit, texts, st.floats(0, 2), attn=numbers, norm=numbers, gamma_start=ends)
updates = st.builds(ContextUpdate, st.floats(0.001, 1), numbers)


@given(updates, st.lists(edits, max_size=EDITS), st.lists(boosts, max_size=3))
def test_a_plan_through_the_accordion_and_its_arguments(update: Any, edits: Any, boosts: Any) -> None:
    plan = Plan(update, edits, boosts)
    form = Form.of(plan)
    assert form.plan == plan
    assert Form.from_args(form.to_args()) == form
    assert Form.from_args(json.loads(json.dumps(form.to_args()))) == form


@given(st.lists(boosts, max_size=4))
def test_boosts_there_and_back(boosts: list[Boost]) -> None:
    assert boost_row.from_row(boost_row.to_row(boosts)) == tuple(boosts)


def test_the_order_of_the_arguments_is_final() -> None:
    main = [
        "enabled",
        "attn",
        "norm",
        "start",
        "until",
        "schedule",
        "ratio",
        "prior",
        "boosts",
        "passes",
        "energies",
        "maps",
    ]
    row = ["on", "text", "strength", "start", "until", "attn", "norm"]
    assert list(FIELDS[:12]) == main
    assert list(FIELDS[12:68]) == [f"edit_{n}_{name}" for n in range(1, 9) for name in row]
    concept = ["concept_word", "concept_name", "concept_factor"]
    assert list(FIELDS[68:]) == [
        "photo",
        "inversion",
        *concept,
        "subjects",
        "subjects_scale",
        "subjects_until",
        "strength",
        "control",
        *(f"edit_{n}_{name}" for n in range(1, 9) for name in ("gamma_start", "gamma_until")),
        "subjects_on",
    ]


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ([], Form()),
        ([True], Form(enabled=True)),
        ([{}], Form(enabled=True)),
        ([{"enabled": False, "attn": 1}], Form(attn=1.0)),
        ([True, None, 0.5], Form(enabled=True, norm=0.5)),
        ([{"from": 0.5}], Form(enabled=True, start=0.5)),
        (
            [{"edits": [{"text": "dog", "gfrom": 0.3}]}],
            Form(True, edits=(EditRow(text="dog", gamma_start=0.3), *NONE[1:])),
        ),
        ([{"edit_2_text": "dog"}], Form(enabled=True, edits=(EditRow(), EditRow(text="dog"), *(EditRow(),) * 6))),
    ],
)
def test_arguments_and_names(args: list[Any], wanted: Form) -> None:
    assert Form.from_args(args) == wanted


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([True, "much"], "attn is 'much'"),
        (["yes"], "enabled is 'yes'"),
        ([{"schedule": "slow"}], "schedule is 'slow'"),
        ([{"alpha": 1}], "'alpha'"),
        ([{"edit_1_gamma_start": "late"}], "edit_1_gamma_start is 'late'"),
        ([{"edits": [{}] * 9}], "at most 8"),
        ([{"edits": ["dog"]}], "edits\\[0\\]"),
        ([{"edits": [{"text": "dog", "power": 1}]}], "'power'"),
    ],
)
def test_faulty_arguments_are_named(args: list[Any], sentence: str) -> None:
    with pytest.raises(PlanError, match=sentence):
        Form.from_args(args)


@pytest.mark.parametrize("text", ["shirt", "shirt:", ":2", "shirt:two", "shirt:-1"])
def test_faulty_boosts_are_named(text: str) -> None:
    with pytest.raises(PlanError):
        boost_row.from_row(text)


def test_a_faulty_row_is_named() -> None:
    with pytest.raises(PlanError, match="edit 2"):
        _ = Form(edits=(EditRow(), EditRow(text="dog", start=0.8, until=0.2))).plan


def test_rows_switched_off_or_empty_do_nothing() -> None:
    form = Form(attn=0.0, norm=0.0, edits=(EditRow(on=False, text="dog"), EditRow(text="  ")))
    assert form.plan == Plan()


def test_strength_scales_the_steps_of_the_words() -> None:
    assert Form(strength=0.5).plan.update == ContextUpdate(0.005, 0.01)
    assert Form(strength=0.0).plan == Plan()


@pytest.mark.parametrize(
    "named", [{"attn": -0.1}, {"norm": -1}, {"strength": -1}, {"edit_2_text": "a", "edit_2_norm": -1}]
)
def test_negative_steps_are_for_whoever_says_so(named: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r'should be 0 or more .*"control"'):
        _ = Form().having(named).plan
    assert Form().having({**named, "control": True}).plan.active


def test_presets_set_both_step_sizes() -> None:
    for name, preset in PRESETS.items():
        form = applied(Form(schedule="step", start=0.5), name)
        assert (form.attn, form.norm, form.start, form.schedule) == (preset.attn, preset.norm, 0.0, "constant")
        assert form.plan.active == (name != "off")


@pytest.fixture
def labels() -> Iterator[list[str]]:
    with started() as host:
        yield [component.label for component in host.runner.inputs[1:]]


def test_labels_are_unique_and_translated(labels: list[str]) -> None:
    assert len(labels) == len(FIELDS) == len(set(labels))
    template = json.loads((ROOT / "localizations" / "en_template.json").read_text(encoding="utf-8"))
    assert set(labels) <= set(template)
    sources = "".join(
        (ROOT / "lib_ebca" / "webui" / name).read_text(encoding="utf-8") for name in ("accordion.py", "settings.py")
    )
    for visible in re.findall(r'(?:gr\.Button\(\s*|gr\.Accordion\(|_part\()"?([A-Z][^"]+)"', sources):
        assert visible in template
    for language in ("zh_CN", "ja_JP"):
        translated = json.loads((ROOT / "localizations" / f"{language}.json").read_text(encoding="utf-8"))
        assert translated.keys() == template.keys()
        assert all(text.strip() for text in translated.values())


@pytest.mark.parametrize("field", ["attn", "edit_1_strength", "edit_1_gamma_start"])
@pytest.mark.parametrize("value", [10**400, 10**5000], ids=["400 digits", "5000 digits"])
def test_numbers_that_no_float_holds_are_refused(field: str, value: int) -> None:
    with pytest.raises(PlanError, match=f"{field} is "):
        Form().having({field: value})
