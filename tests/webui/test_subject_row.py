"""The accordion's row of subjects, there and back."""

from __future__ import annotations

import pickle
from typing import Any

import pytest


@pytest.fixture
def row(host: Any) -> Any:
    from lib_ebca.webui import subject_row

    return subject_row


def test_words_without_their_own_numbers_take_the_rows(row: Any) -> None:
    from lib_ebca.language.plan import Excite

    found = row.from_row("cat, dog:scale=10, red car#2,", 30.0, 0.4)
    assert found == (Excite("cat", None, 30, 0.4), Excite("dog", None, 10), Excite("red car", 2, 30, 0.4))
    assert row.from_row(row.to_row(found)[0], *row.to_row(found)[1:]) == found
    same = row.from_row("cat, dog", 30.0, 0.4)
    assert row.to_row(same) == ("cat, dog", 30.0, 0.4)
    assert row.from_row("", 20.0, 0.5) == ()
    concept = row.from_row("cat:concept=Animals, dog", 30.0, 0.4)
    assert concept == (Excite("cat", None, 30, 0.4, concept="Animals"), Excite("dog", None, 30, 0.4))
    assert row.to_row(concept) == ("cat:concept=Animals, dog", 30.0, 0.4)


def test_what_cannot_be_read_is_named(row: Any) -> None:
    from lib_ebca.language.checks import PlanError

    sentence = "subjects, 'cat:until=2': until is 2.0: it should be a fraction of the pass, from 0 to 1"
    with pytest.raises(PlanError) as caught:
        row.from_row("dog, cat:until=2", 20.0, 0.5)
    assert str(caught.value) == sentence
    assert str(pickle.loads(pickle.dumps(caught.value))) == sentence
    with pytest.raises(PlanError, match="subjects is 'a cat>': it should be words of the prompt"):
        row.from_row("a cat>", 20.0, 0.5)


def test_the_form_asks_for_them_and_reads_them_back(host: Any) -> None:
    from lib_ebca.language.directives import parse
    from lib_ebca.webui import infotext
    from lib_ebca.webui.form import Form

    form = Form().having({"attn": 0, "norm": 0, "subjects": "cat, dog", "subjects_scale": 10})
    plan = parse("<excite:cat:scale=10> <excite:dog:scale=10>").plan
    assert form.plan == plan
    assert form.having({"subjects_on": False}).plan.excite == ()
    read = infotext.read({"EBCA": "<excite:cat:scale=10> <excite:dog>", "Prompt": "a cat and a dog <excite:dog>"})
    assert read.enabled
    assert read.plan == parse("<excite:cat:scale=10>").plan
