r"""Prompt text to plan and back: <edit:TEXT:STRENGTH>, <bcu:ATTN:NORM>, <boost:WORD:FACTOR>.

Arguments are taken from the right as long as they are numbers or key=value; what is left of them is TEXT (or WORD),
in which \: \< \> \\ stand for the character itself and <...> may be nested. Everything that is not one of the three
passes character for character. Reading takes time linear in the length of the prompt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from lib_ebca.language.checks import PlanError, shortened
from lib_ebca.language.plan import Boost, ContextUpdate, Edit, Plan

_OPENING = re.compile(r"<(?:(?P<name>edit|boost):|(?P<bcu>bcu)(?=[:>]):?)", re.IGNORECASE | re.ASCII)
_MARK = re.compile(r"\\.|[<>:]", re.DOTALL)
_ESCAPED = re.compile(r"\\([\\:<>])")
_TO_ESCAPE = re.compile(r"[\\:<>]")
# No two neighbouring repetitions can match the same characters: long digit strings stay linear.
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_KEYED = re.compile(r"([a-z_]+)\s*=\s*(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)

_EDIT_KEYS = ("from", "until", "attn", "norm")
_UPDATE_KEYS = ("from", "until", "schedule", "ratio", "prior")
_WORD_KEYS = ("schedule", "prior")
_LONGEST_OPENING = len("<boost:")
_FORMS = {
    "edit": "<edit:TEXT:STRENGTH>, then if wanted :from=0.5 :until=1 :attn=6e-4 :norm=6e-4",
    "bcu": "<bcu> or <bcu:ATTN:NORM>, then if wanted :from=0 :until=1 :schedule=constant :ratio=0.9 :prior=paper",
    "boost": "<boost:WORD:FACTOR>, where WORD may be a phrase, WORD#2 or *",
}


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
class Parsed:
    """A prompt without its directives, and the plan that they made."""

    text: str
    plan: Plan


@dataclass(frozen=True)
class _Directive:
    name: str
    text: str
    start: int
    end: int
    body: str  # TEXT or WORD with its escapes taken out; empty for bcu
    positional: tuple[float, ...]
    keyed: tuple[tuple[str, str], ...]

    def refuse(self, expected: str) -> NoReturn:
        raise DirectiveError(self.text, self.start, self.end, expected)


def parse(prompt: str) -> Parsed:
    """Take the directives out of `prompt` and read them. Raises DirectiveError, and nothing else, for any string.

    Where white space stands on both sides of a removed directive, one space goes with it; white space that it leaves
    at an end of the prompt goes too. A prompt without directives is returned unchanged.
    """
    directives = list(_found(prompt))
    if not directives:
        return Parsed(prompt, Plan())
    parts = [(directive, _read(directive)) for directive in directives]
    updates = [(directive, part) for directive, part in parts if isinstance(part, ContextUpdate)]
    if len(updates) > 1:
        updates[1][0].refuse(f"a prompt takes one <bcu>, and it already has {shortened(updates[0][0].text, 40)}")
    try:
        plan = Plan(
            update=updates[0][1] if updates else None,
            edits=tuple(part for _, part in parts if isinstance(part, Edit)),
            boosts=tuple(part for _, part in parts if isinstance(part, Boost)),
        )
    except PlanError as error:
        raise _quoting_all(error, parts) from None
    return Parsed(_without(prompt, directives), plan)


def write(plan: Plan) -> str:
    """The directives that `parse` reads back to an equal plan, separated by spaces; "" for an empty plan."""
    update = plan.stated_update
    written = [] if update is None else [_write_update(update)]
    return " ".join([*written, *map(_write_edit, plan.edits), *map(_write_boost, plan.boosts)])


def _found(prompt: str) -> Iterator[_Directive]:
    position = 0
    while (opening := _OPENING.search(prompt, position)) is not None:
        name = (opening["name"] or opening["bcu"]).lower()
        colons, end = _structure(prompt, opening.end())
        if end is None:
            expected = f"it has no closing >; the form is {_FORMS[name]}; a < or > of its own is written \\< or \\>"
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


def _split(prompt: str, opening: re.Match[str], name: str, colons: list[int], end: int) -> _Directive:
    parts = [prompt[i:j] for i, j in zip([opening.end(), *(c + 1 for c in colons)], [*colons, end - 1], strict=True)]
    # The first part is TEXT or WORD, whatever it looks like; bcu has none, and <bcu> no parts at all.
    least = 0 if name == "bcu" else 1
    kept = len(parts) if opening[0].endswith(":") else 0
    positional: list[float] = []
    keyed: list[tuple[str, str]] = []
    while kept > least:
        argument = parts[kept - 1].strip()
        if (pair := _KEYED.fullmatch(argument)) is not None:
            keyed.append((pair[1].lower(), pair[2]))
        elif _NUMBER.fullmatch(argument):
            positional.append(float(argument))
        else:
            break
        kept -= 1
    body = ":".join(parts[:kept])
    directive = _Directive(
        name=name,
        text=prompt[opening.start() : end],
        start=opening.start(),
        end=end,
        body=_ESCAPED.sub(r"\1", body),
        positional=tuple(reversed(positional)),
        keyed=tuple(reversed(keyed)),
    )
    if kept and not least:
        last = shortened(parts[kept - 1].strip(), 30)
        directive.refuse(f"{last!r} is neither a number nor key=value; the form is {_FORMS[name]}")
    _refuse_nested(directive, body)
    return directive


def _refuse_nested(directive: _Directive, body: str) -> None:
    for mark in _MARK.finditer(body):
        if mark[0] == "<" and (inner := _OPENING.match(body, mark.start())) is not None:
            directive.refuse(f"its text should hold no other directive, but has {inner[0]} (a bare < is written \\<)")


def _read(directive: _Directive) -> ContextUpdate | Edit | Boost:
    try:
        if directive.name == "edit":
            return _read_edit(directive)
        return _read_update(directive) if directive.name == "bcu" else _read_boost(directive)
    except PlanError as error:
        field = "from" if error.field == "start" else error.field
        directive.refuse(f"{field} is {error.shown}: it should be {error.expected}")


def _read_edit(directive: _Directive) -> Edit:
    (strength,) = _numbers(directive, ("STRENGTH",))
    values = _values(directive, _EDIT_KEYS)
    return Edit(directive.body, strength, **values)


def _read_update(directive: _Directive) -> ContextUpdate:
    values = _values(directive, _UPDATE_KEYS)
    if not directive.positional:
        return ContextUpdate(**values)
    attn, norm = _numbers(directive, ("ATTN", "NORM"))
    return ContextUpdate(attn, norm, **values)


def _read_boost(directive: _Directive) -> Boost:
    (factor,) = _numbers(directive, ("FACTOR",))
    _values(directive, ())
    return Boost(directive.body, factor)


def _numbers(directive: _Directive, names: tuple[str, ...]) -> tuple[float, ...]:
    numbers, wanted = directive.positional, " and ".join(names)
    if len(numbers) < len(names):
        directive.refuse(f"it lacks {names[len(numbers)]}, a number; the form is {_FORMS[directive.name]}")
    if len(numbers) > len(names):
        escape = "" if directive.name == "bcu" else "; a colon that belongs to the text is written \\:"
        directive.refuse(f"it should end in {wanted}, but has {len(numbers)} numbers{escape}")
    for name, number in zip(names, numbers, strict=True):
        if not math.isfinite(number):
            directive.refuse(f"{name} is {number}: it should be a finite number")
    return numbers


def _values(directive: _Directive, keys: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in directive.keyed:
        if key not in keys:
            known = f"it knows {', '.join(keys)}" if keys else "it takes none"
            escape = "" if directive.name == "bcu" else " (a colon that belongs to the text is written \\:)"
            directive.refuse(f"{directive.name} does not know the argument {shortened(key, 30)!r}: {known}{escape}")
        name = "start" if key == "from" else key  # from is a word of Python's own
        if name in values:
            directive.refuse(f"{key} should be given once")
        if key in _WORD_KEYS:
            values[name] = value.lower()
        elif _NUMBER.fullmatch(value) and math.isfinite(float(value)):
            values[name] = float(value)
        else:
            directive.refuse(f"{key} is {shortened(value, 30)!r}: it should be a finite number")
    return values


def _quoting_all(error: PlanError, parts: list[tuple[_Directive, ContextUpdate | Edit | Boost]]) -> DirectiveError:
    if error.field == "edits" and isinstance(error.value, tuple):
        guilty = {id(edit) for edit in error.value}
        quoted = [directive for directive, part in parts if id(part) in guilty]
    else:
        quoted = [directive for directive, part in parts if not isinstance(part, Edit)]
    text = " ".join(directive.text for directive in quoted)
    return DirectiveError(
        text, quoted[0].start, quoted[-1].end, f"{error.field} is {error.shown}: it should be {error.expected}"
    )


def _without(prompt: str, directives: list[_Directive]) -> str:
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


def _write_update(update: ContextUpdate) -> str:
    keyed = _write_values(update, ContextUpdate(), _UPDATE_KEYS)
    return f"<bcu:{_write_number(update.attn)}:{_write_number(update.norm)}{keyed}>"


def _write_edit(edit: Edit) -> str:
    keyed = _write_values(edit, Edit(edit.text, edit.strength), _EDIT_KEYS)
    return _write_readable(edit, "edit", edit.text, f"{_write_number(edit.strength)}{keyed}")


def _write_boost(boost: Boost) -> str:
    word = boost.word if boost.occurrence is None else f"{boost.word}#{boost.occurrence}"
    return _write_readable(boost, "boost", word, _write_number(boost.factor))


def _write_readable(part: Edit | Boost, name: str, text: str, arguments: str) -> str:
    """Without escapes where it reads back all the same: "(red:1.3) scarf" and "<lora:x:1> cat" do."""
    plain = f"<{name}:{text}:{arguments}>"
    try:
        first = next(_found(plain))
        if first.end == len(plain) and _read(first) == part:
            return plain
    except DirectiveError:
        pass
    return f"<{name}:{_TO_ESCAPE.sub(_escape, text)}:{arguments}>"


def _escape(special: re.Match[str]) -> str:
    return f"\\{special[0]}"


def _write_values(part: ContextUpdate | Edit, usual: ContextUpdate | Edit, keys: tuple[str, ...]) -> str:
    fields = [(key, "start" if key == "from" else key) for key in keys]
    values = [(key, getattr(part, name)) for key, name in fields if getattr(part, name) != getattr(usual, name)]
    return "".join(f":{key}={value if isinstance(value, str) else _write_number(value)}" for key, value in values)


def _write_number(value: float) -> str:
    return repr(value).removesuffix(".0")
