"""Values that stand at the edge of what is allowed, and texts that are as long as may be."""

from __future__ import annotations

import pytest

from lib_ebca.language.checks import MOST_COUNTED, PlanError, count_from_one, shortened


def test_a_text_of_the_limit_is_whole_and_a_longer_one_is_of_the_limit() -> None:
    assert shortened("a" * 80) == "a" * 80
    assert shortened("abcdefghij", 8) == "abcde…ij"
    for length in (81, 82, 1000):
        assert len(shortened("ab" * length)) == 80


def test_counting_begins_with_one_and_ends_with_the_most() -> None:
    assert [count_from_one("occurrence", n) for n in (1, MOST_COUNTED)] == [1, 999_999]
    for none in (0, MOST_COUNTED + 1, True, 1.0, "1"):
        with pytest.raises(PlanError, match="a whole number from 1"):
            count_from_one("occurrence", none)
