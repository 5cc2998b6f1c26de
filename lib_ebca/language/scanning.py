r"""Directives as they stand in a prompt: where they begin and end, and their arguments, whatever these mean.

Arguments are taken from the right as long as they are numbers or key=value; what is left of them is the directive's
text, in which \: \< \> \\ stand for the character itself and <...> may be nested. Everything that is no directive
passes character for character. Reading takes time linear in the length of the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from lib_ebca.language.checks import shortened

FORMS = {
    "edit": "<edit:TEXT:STRENGTH>, then if wanted :from=0.5 :until=1 :attn=6e-4 :norm=6e-4 :gfrom=0.3 :guntil=1",
    "bcu": "<bcu> or <bcu:ATTN:NORM>, then if wanted :from=0 :until=1 :schedule=constant :ratio=0.9 :prior=paper",
    "boost": "<boost:WORD:FACTOR>, where WORD may be a phrase, WORD#2 or *",
    "concept": "<concept:WORD:Color> or <concept:WORD:Color=2:Plants=-1>, then if wanted :from=0 :until=1 :clamp=9",
    "excite": "<excite:WORD>, where WORD may be a phrase, WORD#2 or *, then if wanted :scale=20 :until=0.5 :refine=off "
    ":concept=Animals",
}
"""What each directive looks like, by name."""

_WITH_TEXT = tuple(name for name in FORMS if name != "bcu")
_OPENING = re.compile(rf"<(?:(?P<name>{'|'.join(_WITH_TEXT)}):|(?P<bcu>bcu)(?=[:>]):?)", re.IGNORECASE | re.ASCII)
_LONGEST_OPENING = max(len(f"<{name}:") for name in FORMS)
_MARK = re.compile(r"\\.|[<>:]", re.DOTALL)
_ESCAPED = re.compile(r"\\([\\:<>])")
# No two neighbouring repetitions can match the same characters: long digit strings stay linear.
NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_KEYED = re.compile(r"([a-z_]+)\s*=\s*(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)


class DirectiveError(ValueError):
    """A directive cannot be read. `str()` quotes it and says what would be right.

    `directive` is the text in full, `start` and `end` its offsets in the prompt, `expected` what would be right.
    """

    def __init__(self, directive: str, start: int, end: int, expected: str) -> None:
        self.directive = directive
        self.start = start
        self.end = end
        self.expected = expected
        super().__init__(f'"{shortened(directive)}" (characters {start} to {end} of the prompt): {expected}')

    def __reduce__(self) -> tuple[type[DirectiveError], tuple[str, int, int, str]]:
        return DirectiveError, (self.directive, self.start, self.end, self.expected)


@dataclass(frozen=True)
class Directive:
    """One directive of a prompt: its name, its text in full with its offsets, and its arguments."""

    name: str
    text: str
    start: int
    end: int
    body: str  # TEXT or WORD with its escapes taken out; empty for bcu
    pieces: tuple[str, ...]  # the same, cut at the colons that are not escaped
    positional: tuple[float, ...]
    keyed: tuple[tuple[str, str], ...]

    def refuse(self, expected: str) -> NoReturn:
        """Raise the DirectiveError that quotes this directive and says what would be right."""
        raise DirectiveError(self.text, self.start, self.end, expected)


def unescaped(text: str) -> str:
    r"""Text in which \: \< \> \\ stand for the character itself."""
    return _ESCAPED.sub(r"\1", text)


def found(prompt: str) -> Iterator[Directive]:
    """The directives of a prompt, in their order. Raises DirectiveError for one that cannot be taken apart."""
    position = 0
    while (opening := _OPENING.search(prompt, position)) is not None:
        name = (opening["name"] or opening["bcu"]).lower()
        colons, end = _structure(prompt, opening.end())
        if end is None:
            expected = f"it has no closing >; the form is {FORMS[name]}; a < or > of its own is written \\< or \\>"
            raise DirectiveError(prompt[opening.start() :], opening.start(), len(prompt), expected)
        yield _split(prompt, opening, name, colons, end)
        position = end


def _structure(prompt: str, position: int) -> tuple[list[int], int | None]:
    """The colons outside of nested brackets, and the offset after the closing one (None where there is none)."""
    depth = 0
    colons: list[int] = []
    for mark in _MARK.finditer(prompt, position):
        if mark[0] == "<":
            depth += 1
        elif mark[0] == ">" and depth == 0:
            return colons, mark.end()
        elif mark[0] == ">":
            depth -= 1
        elif mark[0] == ":" and depth == 0:
            colons.append(mark.start())
    return colons, None


def _split(prompt: str, opening: re.Match[str], name: str, colons: list[int], end: int) -> Directive:
    parts = [prompt[i:j] for i, j in zip([opening.end(), *(c + 1 for c in colons)], [*colons, end - 1], strict=True)]
    # The first part is TEXT or WORD, whatever it looks like; bcu has none, and <bcu> no parts at all.
    least = 0 if name == "bcu" else 1
    kept = len(parts) if opening[0].endswith(":") else 0
    positional: list[float] = []
    keyed: list[tuple[str, str]] = []
    while kept > least:
        argument = parts[kept - 1].strip()
        if (pair := _KEYED.fullmatch(argument)) is not None:
            keyed.append((pair[1], pair[2]))
        elif NUMBER.fullmatch(argument):
            positional.append(float(argument))
        else:
            break
        kept -= 1
    body = ":".join(parts[:kept])
    directive = Directive(
        name=name,
        text=prompt[opening.start() : end],
        start=opening.start(),
        end=end,
        body=unescaped(body),
        pieces=tuple(map(unescaped, parts[:kept])),
        positional=tuple(reversed(positional)),
        keyed=tuple(reversed(keyed)),
    )
    if kept and not least:
        last = shortened(parts[kept - 1].strip(), 30)
        directive.refuse(f"{last!r} is neither a number nor key=value; the form is {FORMS[name]}")
    _refuse_nested(directive, body)
    return directive


def _refuse_nested(directive: Directive, body: str) -> None:
    for mark in _MARK.finditer(body):
        if mark[0] == "<" and (inner := _OPENING.match(body, mark.start())) is not None:
            directive.refuse(f"its text should hold no other directive, but has {inner[0]} (a bare < is written \\<)")


def without(prompt: str, directives: list[Directive]) -> str:
    """The prompt without its directives. Raises DirectiveError where that would make another one."""
    bounds = [0, *(bound for directive in directives for bound in (directive.start, directive.end)), len(prompt)]
    pieces = [prompt[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True)]
    text = pieces[0]
    for directive, piece in zip(directives, pieces[1:], strict=True):
        if text[-1:].isspace() and piece[:1].isspace():
            # A line break outlives the space on its other side.
            text, piece = (text[:-1], piece) if text[-1] == " " != piece[0] else (text, piece[1:])
        if (made := _OPENING.search(text[-_LONGEST_OPENING:] + piece[:_LONGEST_OPENING])) is not None:
            directive.refuse(f"it should not stand inside a word: without it the prompt has {made[0]}")
        text += piece
    if not pieces[0].strip():
        text = text.lstrip()
    return text if pieces[-1].strip() else text.rstrip()
