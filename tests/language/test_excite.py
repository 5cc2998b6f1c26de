"""Subjects as a part of a plan, as directives, and as words of a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from lib_ebca import DirectiveError, Excite, Plan, PlanError
from lib_ebca.language.directives import parse, write
from lib_ebca.language.subject_words import subject_words
from lib_ebca.language.words import WordError, tokenise
from tests import tiny_text


@pytest.mark.parametrize(
    ("text", "excite"),
    [
        ("<excite:cat>", Excite("cat")),
        ("<Excite: red cat >", Excite("red cat")),
        ("<excite:dog:scale=20:until=0.5:refine=off>", Excite("dog", refine=False)),
        ("<excite:dog:SCALE=5:refine=ON>", Excite("dog", scale=5)),
        ("<excite:cat#2:until=1>", Excite("cat", 2, until=1)),
        ("<excite:*>", Excite("*")),
        ("<excite:cat:concept= Animals >", Excite("cat", concept="Animals")),
        (
            r"<excite:cat:concept=Fruits\: and Vegetables:scale=5>",
            Excite("cat", None, 5, concept="Fruits: and Vegetables"),
        ),
        (r"<excite:16\:9>", Excite("16:9")),
    ],
)
def test_each_form(text: str, excite: Excite) -> None:
    parsed = parse(f"a cat {text}")
    assert parsed.text == "a cat"
    assert parsed.plan == Plan(excite=(excite,))
    assert parse(write(parsed.plan)).plan == parsed.plan
    assert Plan.from_dict(parsed.plan.to_dict()) == parsed.plan


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<excite:>", "word is '': it should be a word or phrase of the prompt, or *"),
        ("<excite:cat:until=1.5>", "until is 1.5: it should be a fraction of the pass, from 0 to 1"),
        ("<excite:cat:scale=-1>", "scale is -1.0: it should be a finite number of at least 0"),
        ("<excite:cat:20>", "its numbers are written scale=20 and until=0.5"),
        ("<excite:cat:refine=perhaps>", "refine is 'perhaps': it should be on or off"),
        ("<excite:cat:from=0.2>", "excite does not know the argument 'from': it knows scale, until, refine, concept"),
        ("<excite:*#2>", "occurrence is 2: it should be left out for *, which means every content word"),
        ("<excite:cat:concept=>", "concept is '': it should be the name of a concept of the head relevance vectors"),
        ("<excite:cat:concept=Color=2>", "concept is 'Color=2': it should be the name of a concept"),
        ("<excite:cat", "it has no closing >"),
    ],
)
def test_what_cannot_be_read_is_quoted(text: str, sentence: str) -> None:
    with pytest.raises(DirectiveError) as caught:
        parse(f"a cat {text}")
    assert sentence in str(caught.value)


def test_refine_is_a_truth_value() -> None:
    with pytest.raises(PlanError, match="refine is 'on': it should be on or off"):
        Excite("cat", refine=MADE("on"))


MADE: Any = str


@pytest.mark.parametrize(
    ("excite", "active"), [(Excite("a"), True), (Excite("a", scale=0), False), (Excite("a", until=0), False)]
)
def test_what_does_nothing_is_not_active(excite: Excite, active: bool) -> None:
    assert excite.active == active == Plan(excite=(excite,)).active


def test_plans_merge_one_after_the_other() -> None:
    merged = parse("a cat <excite:cat>").plan.merged(parse("<excite:dog> <bcu>").plan)
    assert write(merged) == "<bcu:0.01:0.02> <excite:cat> <excite:dog>"


def found(prompt: str) -> list[tuple[str, tuple[int, ...], float]]:
    parsed = parse(prompt)
    clip = tiny_text.tokenizer()
    return [
        (word.name, word.rows, word.excite.scale)
        for word in subject_words(tokenise(clip, parsed.text), parsed.plan.excite, clip)
    ]


def test_each_occurrence_is_a_subject() -> None:
    assert found("a cat and a cat <excite:cat>") == [("cat#1", (2,), 20.0), ("cat#2", (7,), 20.0)]
    assert found("a cat and a cat <excite:cat#2:scale=3>") == [("cat#2", (7,), 3.0)]


def test_a_star_finds_the_nouns() -> None:
    assert [name for name, _, _ in found("a red car and a dog wearing a hat, on a sofa <excite:*>")] == [
        "car",
        "dog",
        "hat",
        "sofa",
    ]


def test_a_named_word_goes_before_the_star() -> None:
    assert found("a cat and a dog <excite:dog:scale=5> <excite:*>") == [("cat", (2,), 20.0), ("dog", (7,), 5.0)]


def test_of_two_that_name_a_word_the_later_counts() -> None:
    assert found("a cat <excite:cat:scale=5> <excite:cat:scale=7>") == [("cat", (2,), 7.0)]


def test_an_unknown_word_lists_the_words() -> None:
    with pytest.raises(WordError, match='"dog" is not in the prompt; the words of the prompt are: a, cat'):
        found("a cat <excite:dog>")


def test_a_star_needs_a_noun() -> None:
    with pytest.raises(WordError, match="finds no noun-like word in the prompt"):
        found("of the <excite:*>")
