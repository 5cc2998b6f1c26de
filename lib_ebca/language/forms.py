"""Each directive's arguments to its part of a plan, and back."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lib_ebca.language.checks import PlanError, meant, shortened
from lib_ebca.language.concept import RESERVED, Concept
from lib_ebca.language.excite import Excite
from lib_ebca.language.parts import Boost, ContextUpdate, Edit
from lib_ebca.language.scanning import FORMS, NUMBER, Directive, DirectiveError, found, unescaped

Part = ContextUpdate | Edit | Boost | Concept | Excite

_TO_ESCAPE = re.compile(r"[\\:<>]")
_EDIT_KEYS = ("from", "until", "attn", "norm", "gfrom", "guntil")
_FIELDS = {"from": "start", "gfrom": "gamma_start", "guntil": "gamma_until"}
"""Arguments that are called otherwise in Python, where from is a word of its own."""
_UPDATE_KEYS = ("from", "until", "schedule", "ratio", "prior")
_WORD_KEYS = ("schedule", "prior")
_EXCITE_KEYS = ("scale", "until", "refine", "concept")
_SWITCH = {"on": True, "off": False}


def read(directive: Directive) -> Part:
    """The part that a directive asks for. Raises DirectiveError."""
    try:
        return _READERS[directive.name](directive)
    except PlanError as error:
        field = next((key for key, name in _FIELDS.items() if name == error.field), error.field)
        directive.refuse(f"{field} is {error.shown}: it should be {error.expected}")


def _read_edit(directive: Directive) -> Edit:
    (strength,) = _numbers(directive, ("STRENGTH",))
    values = _values(directive, _EDIT_KEYS)
    return Edit(directive.body, strength, **values)


def _read_update(directive: Directive) -> ContextUpdate:
    values = _values(directive, _UPDATE_KEYS)
    if not directive.positional:
        return ContextUpdate(**values)
    attn, norm = _numbers(directive, ("ATTN", "NORM"))
    return ContextUpdate(attn, norm, **values)


def _read_boost(directive: Directive) -> Boost:
    (factor,) = _numbers(directive, ("FACTOR",))
    _values(directive, ())
    return Boost(directive.body, factor)


def _read_concept(directive: Directive) -> Concept:
    if directive.positional:
        directive.refuse(f"a concept's number is written CONCEPT=NUMBER; the form is {FORMS['concept']}")
    own = [(key, value) for key, value in directive.keyed if key.lower() not in RESERVED]
    listed = [piece.rpartition("=")[::2] if "=" in piece else (piece, "1") for piece in directive.pieces[1:]]
    weights: list[tuple[str, float]] = []
    for name, value in (*listed, *own):
        if not NUMBER.fullmatch(value.strip()) or not math.isfinite(float(value)):
            directive.refuse(f"{shortened(name.strip(), 30)} is {shortened(value, 30)!r}: it should be a finite number")
        weights.append((name.strip(), float(value)))
    if not weights:
        directive.refuse(f"it lacks a concept; the form is {FORMS['concept']}")
    keyed = replace(directive, keyed=tuple(pair for pair in directive.keyed if pair not in own))
    return Concept(directive.pieces[0], tuple(weights), **_values(keyed, RESERVED))


def _read_excite(directive: Directive) -> Excite:
    if directive.positional:
        directive.refuse(f"its numbers are written scale=20 and until=0.5; the form is {FORMS['excite']}")
    return Excite(directive.body, **_values(directive, _EXCITE_KEYS))


_READERS: dict[str, Callable[[Directive], Part]] = {
    "edit": _read_edit,
    "bcu": _read_update,
    "boost": _read_boost,
    "concept": _read_concept,
    "excite": _read_excite,
}


def _numbers(directive: Directive, names: tuple[str, ...]) -> tuple[float, ...]:
    numbers, wanted = directive.positional, " and ".join(names)
    if len(numbers) < len(names):
        directive.refuse(f"it lacks {names[len(numbers)]}, a number; the form is {FORMS[directive.name]}")
    if len(numbers) > len(names):
        escape = "" if directive.name == "bcu" else "; a colon that belongs to the text is written \\:"
        directive.refuse(f"it should end in {wanted}, but has {len(numbers)} numbers{escape}")
    for name, number in zip(names, numbers, strict=True):
        if not math.isfinite(number):
            directive.refuse(f"{name} is {number}: it should be a finite number")
    return numbers


def _values(directive: Directive, keys: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for given, value in directive.keyed:
        key = given.lower()
        if key not in keys:
            known = f"it knows {', '.join(keys)}" if keys else "it takes none"
            escape = "" if directive.name == "bcu" else " (a colon that belongs to the text is written \\:)"
            argument = f"{shortened(key, 30)!r}{meant(key, keys)}"
            directive.refuse(f"{directive.name} does not know the argument {argument}: {known}{escape}")
        name = _FIELDS.get(key, key)
        if name in values:
            directive.refuse(f"{key} should be given once")
        if key in _WORD_KEYS:
            values[name] = value.lower()
        elif key == "concept":
            values[name] = unescaped(value)
        elif key == "refine":
            if value.strip().lower() not in _SWITCH:
                directive.refuse(f"refine is {shortened(value, 30)!r}: it should be on or off")
            values[name] = _SWITCH[value.strip().lower()]
        elif NUMBER.fullmatch(value) and math.isfinite(float(value)):
            values[name] = float(value)
        else:
            directive.refuse(f"{key} is {shortened(value, 30)!r}: it should be a finite number")
    return values


def write_update(update: ContextUpdate) -> str:
    """The directive that reads back to an equal update."""
    keyed = _write_values(update, ContextUpdate(), _UPDATE_KEYS)
    return f"<bcu:{_write_number(update.attn)}:{_write_number(update.norm)}{keyed}>"


def write_edit(edit: Edit) -> str:
    """The directive that reads back to an equal edit."""
    keyed = _write_values(edit, Edit(edit.text, edit.strength), _EDIT_KEYS)
    return _write_readable(edit, "edit", edit.text, f"{_write_number(edit.strength)}{keyed}")


def write_boost(boost: Boost) -> str:
    """The directive that reads back to an equal boost."""
    word = boost.word if boost.occurrence is None else f"{boost.word}#{boost.occurrence}"
    return _write_readable(boost, "boost", word, _write_number(boost.factor))


def write_concept(concept: Concept) -> str:
    """The directive that reads back to an equal concept."""
    word = concept.word if concept.occurrence is None else f"{concept.word}#{concept.occurrence}"
    weights = "".join(f":{_TO_ESCAPE.sub(_escape, name)}={_write_number(weight)}" for name, weight in concept.weights)
    keyed = _write_values(concept, Concept(concept.word, concept.weights), RESERVED)
    return f"<concept:{_TO_ESCAPE.sub(_escape, word)}{weights}{keyed}>"


def write_excite(excite: Excite) -> str:
    """The directive that reads back to an equal part."""
    word = excite.word if excite.occurrence is None else f"{excite.word}#{excite.occurrence}"
    keyed = _write_values(excite, Excite(excite.word), ("scale", "until"))
    keyed += "" if excite.refine else ":refine=off"
    keyed += "" if excite.concept is None else f":concept={_TO_ESCAPE.sub(_escape, excite.concept)}"
    return f"<excite:{_TO_ESCAPE.sub(_escape, word)}{keyed}>"


def _write_readable(part: Edit | Boost, name: str, text: str, arguments: str) -> str:
    """Without escapes where it reads back all the same: "(red:1.3) scarf" and "<lora:x:1> cat" do."""
    plain = f"<{name}:{text}:{arguments}>"
    try:
        first = next(found(plain))
        if first.end == len(plain) and read(first) == part:
            return plain
    except DirectiveError:
        pass
    return f"<{name}:{_TO_ESCAPE.sub(_escape, text)}:{arguments}>"


def _escape(special: re.Match[str]) -> str:
    return f"\\{special[0]}"


def _write_values(part: Part, usual: Part, keys: tuple[str, ...]) -> str:
    fields = [(key, _FIELDS.get(key, key)) for key in keys]
    values = [(key, getattr(part, name)) for key, name in fields if getattr(part, name) != getattr(usual, name)]
    return "".join(f":{key}={value if isinstance(value, str) else _write_number(value)}" for key, value in values)


def _write_number(value: float) -> str:
    return repr(value).removesuffix(".0")
