"""Which words of a prompt its plan's subjects are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from lib_ebca.language.excite import Excite
from lib_ebca.language.words import TokenisedPrompt, WordError, has_content, spans, words

_NO_SUBJECTS = frozenset(
    """wearing sitting standing holding riding running playing looking lying walking flying eating made""".split()  # noqa: SIM905 (as in words)
)


@dataclass(frozen=True)
class SubjectWord:
    """One subject: its spelling, its rows of the context, and what is asked for it."""

    name: str
    rows: tuple[int, ...]
    excite: Excite


def subject_words(tokenised: TokenisedPrompt, excites: Iterable[Excite], tokenizer: Any) -> tuple[SubjectWord, ...]:
    """The subjects of a prompt, each occurrence of a word being one.

    "*" finds every noun-like word: the last content word of each run of them, so that "red" in "a red car" is none.
    Where a word is named as well, that counts; of two that name the same word the later one does.
    Raises WordError, which lists the words of the prompt.
    """
    found: dict[tuple[int, ...], SubjectWord] = {}
    for excite in sorted(excites, key=lambda each: each.word != "*"):
        if excite.word == "*":
            named = _nouns(tokenised, tokenizer)
        else:
            each_rows = spans(tokenised, excite.word, excite.occurrence, tokenizer)
            first = excite.occurrence or 1
            several = len(each_rows) > 1 or excite.occurrence is not None
            named = [
                (f"{excite.word}#{number}" if several else excite.word, rows)
                for number, rows in enumerate(each_rows, start=first)
            ]
        for name, rows in named:
            # A phrase takes the place of the words in it.
            found = {other: subject for other, subject in found.items() if not set(other) & set(rows)}
            found[rows] = SubjectWord(name, rows, replace(excite, word=name) if excite.word == "*" else excite)
    return tuple(found[rows] for rows in sorted(found))


def _nouns(tokenised: TokenisedPrompt, tokenizer: Any) -> list[tuple[str, tuple[int, ...]]]:
    spelled = words(tokenised, tokenizer)
    content = [has_content(word) and word.lower() not in _NO_SUBJECTS for word in spelled]
    rows: dict[int, list[int]] = {}
    for row, token in enumerate(tokenised.tokens):
        if token.word is not None:
            rows.setdefault(token.word, []).append(row)
    last = [number for number, is_one in enumerate(content) if is_one and not any(content[number + 1 : number + 2])]
    if not last:
        raise WordError("*", spelled, "finds no noun-like word in the prompt")
    return [(spelled[number], tuple(rows[number])) for number in last]
