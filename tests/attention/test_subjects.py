"""Which tokens a picture's subjects are, when they are asked for what, and what is told of them."""

from __future__ import annotations

import pytest
import torch

from lib_ebca.attention.excite_record import ExciteRecord, subjects_told
from lib_ebca.attention.subjects import LevelError, Subject, Subjects, level_of, subjects_of, text_columns
from lib_ebca.language.excite import Excite
from lib_ebca.language.words import tokenise
from lib_ebca.methods.head_vectors import HeadVectors
from tests import tiny_text

CAT = Subjects((Subject("cat", (1,)),), (False, True))


def targets(subjects: Subjects, steps: int) -> list[float | None]:
    return [subjects.asked(number, steps).ask.target for number in range(steps)]


def test_thresholds_are_asked_for_at_the_published_fractions() -> None:
    asked = {0: pytest.approx(0.95), 2: pytest.approx(0.5), 4: pytest.approx(0.2)}
    assert targets(CAT, 10) == [asked.get(number) for number in range(10)]


def test_a_subject_acts_until_its_fraction_of_the_pass() -> None:
    def acting(until: float) -> list[int]:
        subjects = Subjects((Subject("cat", (1,), until=until),))
        return [number for number in range(10) if subjects.asked(number, 10).ask.update]

    assert acting(0.5) == [0, 1, 2, 3, 4]
    assert acting(0.3) == [0, 1, 2]  # 0.3 * 10 is less than 3 in binary
    assert acting(1.0) == list(range(10))
    assert Subjects((Subject("cat", (1,), until=1.0),)).asked(10, 10).ask.update  # a sampler's last look


def test_thresholds_that_lie_between_two_looks_are_asked_for_at_the_second() -> None:
    assert CAT.asked(3, 10).ask.target is None
    assert CAT.asked(3, 10, since=1).ask.target == pytest.approx(0.5)
    assert CAT.asked(4, 10, since=1).ask.target == pytest.approx(0.2)
    assert CAT.asked(2, 10, since=2).ask.target is None


def test_what_is_not_refined_is_moved_alone() -> None:
    both = Subjects((Subject("cat", (1,), refine=False), Subject("dog", (2,))))
    asked = both.asked(0, 10)
    assert [each.name for each in asked.acting] == ["cat", "dog"]
    assert [each.name for each in asked.refined] == ["dog"]
    alone = Subjects((Subject("cat", (1,), refine=False),)).asked(0, 10)
    assert alone.ask.target is None
    assert alone.ask.update
    assert not Subjects().asked(0, 10).ask.update
    assert Subjects().asked(0, 10).ask.target is None


def test_the_words_of_a_prompt_become_rows_scales_and_shares_of_heads() -> None:
    tokenizer = tiny_text.tokenizer()
    tokenised = tokenise(tokenizer, "a cat dog")
    vectors = HeadVectors(("Animals", "Color"), torch.tensor([[2.0, 1.0, 0.0], [1.0, 1.0, 1.0]]), (2, 1), "made up")
    excites = (Excite("cat", scale=10.0, until=0.8, refine=False), Excite("dog", concept="animals"))
    cat, dog = subjects_of(excites, tokenised, tokenizer, True, vectors).subjects
    assert (cat.name, cat.tokens, cat.scale, cat.until, cat.refine, cat.heads) == ("cat", (2,), 10.0, 0.8, False, ())
    assert (dog.tokens, dog.scale, dog.until, dog.refine) == ((3,), 20.0, 0.5, True)
    assert [each.tolist() for each in dog.heads] == [pytest.approx([2 / 3, 1 / 3]), [0.0]]
    assert subjects_of(excites[1:], tokenised, tokenizer, True).subjects[0].heads == ()
    assert subjects_of((), tokenised, tokenizer, True) == Subjects()
    assert subjects_of(excites, None, tokenizer, True) == Subjects()
    assert subjects_of((Excite("cat", scale=0.0),), tokenised, tokenizer, True).subjects == ()


def test_the_columns_that_share_the_pixels() -> None:
    assert text_columns((2,), 6, True) == (False, True, True, True, True, False)
    assert text_columns((2,), 6, False) == (False, True, True, False, False, False)
    assert text_columns((4, 1), 6, False) == (*(False, True, True, True, True, False), *(False, True, *[False] * 4))


def test_the_level_that_is_read() -> None:
    assert level_of((0, 1, 2, 3)) == 2
    assert level_of((1, 3)) == 1
    assert level_of((0, 3)) == 3
    assert level_of((1, 2, 3), 3) == 3
    with pytest.raises(LevelError, match=r"level is 5: .*which are 1, 3"):
        level_of((3, 1, 3), 5)
    with pytest.raises(LevelError, match="none"):
        level_of(())


def record(picture: int, before: float, after: float, refinements: int) -> ExciteRecord:
    return ExciteRecord(
        0, picture, {"cat": before}, {"cat": after}, (1 - before,), 1 + refinements, refinements, 2, None
    )


def test_what_is_told_of_a_picture_is_its_own() -> None:
    records = [record(0, 0.1, 0.2, 3), record(1, 0.5, 0.6, 0), record(0, 0.3, 0.9, 1)]
    assert subjects_told(records, 0) == (
        "Subjects: the latent was moved in 2 steps, refined 4 times; scores cat 0.10 to 0.90.",
    )
    assert subjects_told(records, 1) == (
        "Subjects: the latent was moved in 1 step, refined 0 times; scores cat 0.50 to 0.60.",
    )
    assert subjects_told(records, 2) == ()


def test_a_subject_is_as_published_unless_it_says_so() -> None:
    cat = Subject("cat", (1,))
    assert (cat.scale, cat.until, cat.refine, cat.heads) == (20.0, 0.5, True, ())
    assert (Subjects().subjects, Subjects().text) == ((), ())


def test_a_prompt_of_two_chunks_has_the_columns_of_both() -> None:
    tokenizer = tiny_text.tokenizer()
    tokenised = tokenise(tokenizer, "a cat BREAK dog")
    found = subjects_of((Excite("dog"),), tokenised, tokenizer, False)
    assert found.subjects[0].tokens == (78,)
    assert [place for place, shares in enumerate(found.text) if shares] == [1, 2, 78]
    filled = subjects_of((Excite("dog"),), tokenised, tokenizer, True)
    assert [place for place, shares in enumerate(filled.text) if not shares] == [0, 76, 77, 153]


def test_a_window_too_short_for_a_step_is_that_of_the_step_it_lies_in() -> None:
    subjects = Subjects((Subject("cat", (1,), until=0.1),))
    assert [number for number in range(4) if subjects.asked(number, 4).ask.update] == [0]


def test_what_was_seen_first_and_last_is_told_of_each() -> None:
    records = [
        ExciteRecord(0, 0, {"cat": 0.1}, {"cat": 0.2}, (0.9,), 1, 0, 1, None),
        ExciteRecord(1, 0, {"cat": 0.3, "dog": 0.4}, {"cat": 0.5, "dog": 0.6}, (0.7,), 1, 2, 1, None),
    ]
    (told,) = subjects_told(records, 0)
    assert told.endswith("moved in 2 steps, refined 2 times; scores cat 0.10 to 0.50, dog 0.40 to 0.60.")
