"""The accordion's row of boosts: words with their factors."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lib_ebca.language.checks import PlanError
from lib_ebca.language.plan import Boost

_BOOST = re.compile(r"(?P<word>.*\S)\s*:\s*(?P<factor>[^:]+)", re.DOTALL)
_COMMA = re.compile(r"(?<!\\),")


def from_row(text: str) -> tuple[Boost, ...]:
    r"""The boosts of "shirt:2.5, crown#2:2"; a comma that belongs to a word is written \,. Raises PlanError."""
    boosts = []
    for part in filter(str.strip, _COMMA.split(text)):
        match = _BOOST.fullmatch(part.strip())
        try:
            factor = float(match["factor"]) if match is not None else None
        except ValueError:
            factor = None
        if match is None or factor is None:
            raise PlanError("boosts", part.strip(), "words with their factors, as in shirt:2.5, crown:2")
        boosts.append(Boost(match["word"].replace("\\,", ","), factor))
    return tuple(boosts)


def to_row(boosts: Sequence[Boost]) -> str:
    """The text that :func:`from_row` reads back."""
    return ", ".join(
        f"{boost.word.replace(',', chr(92) + ',')}{'' if boost.occurrence is None else f'#{boost.occurrence}'}"
        f":{repr(boost.factor).removesuffix('.0')}"
        for boost in boosts
    )
