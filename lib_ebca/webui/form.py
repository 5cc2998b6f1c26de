"""What the accordion holds: one model for the UI, the API, the infotext and the X/Y/Z axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from lib_ebca.language.checks import PlanError
from lib_ebca.language.excite import PUBLISHED_SCALE, PUBLISHED_UNTIL
from lib_ebca.language.plan import PRIORS, PUBLISHED_ATTN, PUBLISHED_NORM, SCHEDULES, ContextUpdate, Edit, Plan
from lib_ebca.webui import boost_row, concept_row, subject_row

EDITS = 8
PASSES = ("both passes", "first pass", "hires pass")
INVERSIONS = ("fixed-point", "published")
Value = bool | float | str | None
Owner = TypeVar("Owner", "Form", "EditRow")


@dataclass(frozen=True)
class EditRow:
    """One row of the accordion's edits. Its names are final: API clients and saved settings use them."""

    on: bool = True
    text: str = ""
    strength: float = 0.6
    start: float = 0.0
    until: float = 1.0
    attn: float = 0.0
    norm: float = 0.0
    gamma_start: float | None = None
    gamma_until: float | None = None

    @property
    def edit(self) -> Edit | None:
        """The edit, or None if the row is empty or switched off."""
        if not self.on or not self.text.strip():
            return None
        return Edit(**{field.name: getattr(self, field.name) for field in fields(Edit)})

    @classmethod
    def of(cls, edit: Edit) -> EditRow:
        """The row that stands for ``edit``."""
        return cls(**{field.name: getattr(edit, field.name) for field in fields(Edit)})


@dataclass(frozen=True)
class Form:
    """The accordion's values. The order of the fields is that of the API's arguments: new ones come last."""

    enabled: bool = False
    attn: float = PUBLISHED_ATTN
    norm: float = PUBLISHED_NORM
    start: float = 0.0
    until: float = 1.0
    schedule: str = "constant"
    ratio: float = 1.0
    prior: str = "published"
    boosts: str = ""
    passes: str = PASSES[0]
    energies: bool = False
    maps: bool = False
    edits: tuple[EditRow, ...] = (EditRow(),) * EDITS
    photo: bool = False
    inversion: str = INVERSIONS[0]
    concept_word: str = ""
    concept_name: str = "Color"
    concept_factor: float = 1.0
    subjects: str = ""
    subjects_scale: float = PUBLISHED_SCALE
    subjects_until: float = PUBLISHED_UNTIL
    strength: float = 1.0
    control: bool = False
    subjects_on: bool = True

    @property
    def plan(self) -> Plan:
        """What the accordion asks for, its checkbox aside. Raises PlanError.

        Negative step sizes, which drive the picture away from its words, are for whoever says so with ``control``.
        """
        self._refuse_negative(attn=self.attn, norm=self.norm, strength=self.strength)
        boosts = boost_row.from_row(self.boosts)
        edits = []
        for number, row in enumerate(self.edits, start=1):
            try:
                edit = row.edit
            except PlanError as error:
                raise error.within(f"edit {number}") from None
            if edit is not None:
                self._refuse_negative(f"edit {number}.", attn=edit.attn, norm=edit.norm)
                edits.append(edit)
        update = None
        attn, norm = self.attn * self.strength, self.norm * self.strength
        if attn or norm or boosts:
            ratio = self.ratio if self.schedule in ("linear", "exp") else None
            update = ContextUpdate(attn, norm, self.start, self.until, self.schedule, ratio, self.prior)
        concepts = concept_row.from_row(self.concept_word, self.concept_name, self.concept_factor)
        words = self.subjects if self.subjects_on else ""
        excites = subject_row.from_row(words, self.subjects_scale, self.subjects_until)
        return Plan(update, tuple(edits), boosts, concepts, excites)

    def _refuse_negative(self, owner: str = "", **sizes: float) -> None:
        for name, value in sizes.items():
            if value < 0 and not self.control:
                expected = '0 or more (less drives the picture away: allow it with "control")'
                raise PlanError(owner + name, value, expected)

    @property
    def records(self) -> bool:
        """Whether anything is to be recorded."""
        return self.energies or self.maps

    def acts_in(self, hires: bool) -> bool:
        """Whether the accordion acts in this sampling pass."""
        return self.passes == PASSES[0] or (self.passes == PASSES[2]) == hires

    @classmethod
    def of(cls, plan: Plan, enabled: bool = True, passes: str = PASSES[0]) -> Form:
        """The accordion that asks for ``plan``. Raises PlanError if it has more edits than there are rows."""
        if len(plan.edits) > EDITS:
            raise PlanError("edits", len(plan.edits), f"at most {EDITS}, the rows of the accordion")
        words, scale, until = subject_row.to_row(plan.excite)
        concept = concept_row.to_row(plan.concepts) or (cls.concept_word, cls.concept_name, cls.concept_factor)
        rows = tuple(map(EditRow.of, plan.edits)) + (EditRow(),) * (EDITS - len(plan.edits))
        update = plan.update or ContextUpdate(0.0, 0.0)
        sizes = [update.attn, update.norm, *(size for edit in plan.edits for size in (edit.attn, edit.norm))]
        return cls(
            enabled,
            update.attn,
            update.norm,
            update.start,
            update.until,
            update.schedule,
            1.0 if update.ratio is None else update.ratio,
            update.prior,
            boost_row.to_row(plan.boosts),
            passes,
            edits=rows,
            concept_word=concept[0],
            concept_name=concept[1],
            concept_factor=concept[2],
            subjects=words,
            subjects_scale=scale,
            subjects_until=until,
            control=min(sizes) < 0,
        )

    def to_args(self) -> list[Value]:
        """The values in the order of :data:`FIELDS`."""
        return [_get(self, name) for name in FIELDS]

    @classmethod
    def from_args(cls, args: Sequence[Any]) -> Form:
        """The form of a script's arguments: values in the order of :data:`FIELDS`, and at most one mapping with names.

        Missing or None values keep their defaults. A mapping switches the form on unless it says otherwise.

        Raises:
            PlanError: a value of the wrong kind, or a name that is not known.
        """
        named: dict[str, Any] = {}
        for argument in args:
            if isinstance(argument, Mapping):
                named |= {"enabled": True, **argument}
        values = {
            name: value
            for name, value in zip(FIELDS, args, strict=False)
            if value is not None and not isinstance(value, Mapping)
        }
        return cls().having(values).having(named)

    def having(self, values: Mapping[str, Any]) -> Form:
        """This form with some values replaced, by name: those of :data:`FIELDS`, "edits", and "from" for "start".

        Raises:
            PlanError: a value of the wrong kind, or a name that is not known.
        """
        form = self
        for key, value in values.items():
            name = _PYTHON.get(key, key)
            form = replace(form, edits=_rows(value)) if name == "edits" else _set(form, name, value)
        return form


def _names() -> tuple[str, ...]:
    names: list[str] = []
    for field in fields(Form):
        names += _FIRST if field.name == "edits" else [field.name]
        names += _LATER if field.name == "control" else []
    return tuple(names)


_ADDED = ("gamma_start", "gamma_until")
"""Values of a row that came when the order of the arguments was final."""
_NAMES = [(f"edit_{n}_{field.name}", field.name) for n in range(1, EDITS + 1) for field in fields(EditRow)]
_FIRST = tuple(name for name, own in _NAMES if own not in _ADDED)
_LATER = tuple(name for name, own in _NAMES if own in _ADDED)

ROWS = (*_FIRST, *_LATER)
"""The names of the rows' values in their final order."""

FIELDS = _names()
"""The names of the values in their final order."""

_PYTHON = {"from": "start", "gfrom": "gamma_start", "guntil": "gamma_until"}
_ROW = re.compile(r"edit_(?P<number>\d+)_(?P<name>\w+)")
_CHOICES = {"schedule": SCHEDULES, "prior": PRIORS, "passes": PASSES, "inversion": INVERSIONS}


def _get(form: Form, name: str) -> Value:
    row = _ROW.fullmatch(name)
    owner: object = form if row is None else form.edits[int(row["number"]) - 1]
    value: Value = getattr(owner, name if row is None else row["name"])
    return value


def _set(form: Form, name: str, value: Any) -> Form:
    if name not in FIELDS:
        raise PlanError("EBCA's arguments", name, f"one of {', '.join(FIELDS[:12])}, edit_1_text and so on, or edits")
    row = _ROW.fullmatch(name)
    if row is None:
        return _with(form, name, _typed(name, value, getattr(Form(), name)))
    edits = list(form.edits)
    index = int(row["number"]) - 1
    typed = _typed(name, value, getattr(EditRow(), row["name"]))
    edits[index] = _with(edits[index], row["name"], typed)
    return replace(form, edits=tuple(edits))


def _rows(value: Any) -> tuple[EditRow, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > EDITS:
        raise PlanError("edits", value, f"a list of at most {EDITS} edits; more of them go into the prompt as <edit:…>")
    rows = []
    for number, given in enumerate(value, start=1):
        if not isinstance(given, Mapping):
            raise PlanError(f"edits[{number - 1}]", given, "a mapping with text and strength")
        row = EditRow()
        for key, each in given.items():
            name = _PYTHON.get(key, key)
            known = {field.name: field.default for field in fields(EditRow)}
            if name not in known:
                raise PlanError(f"edits[{number - 1}]", key, f"one of {', '.join(known)}")
            row = _with(row, name, _typed(f"edits[{number - 1}].{name}", each, known[name]))
        rows.append(row)
    return (*rows, *(EditRow(),) * (EDITS - len(rows)))


def _with(owner: Owner, name: str, value: Value) -> Owner:
    changes: dict[str, Any] = {name: value}
    return replace(owner, **changes)


def _typed(name: str, value: Any, default: Any) -> Value:
    if default is None:
        return _number_or_empty(name, value)
    if isinstance(default, bool):
        if isinstance(value, (bool, int)):
            return bool(value)
        raise PlanError(name, value, "true or false")
    if isinstance(default, str):
        if not isinstance(value, str):
            raise PlanError(name, value, "a text")
        choices = _CHOICES.get(name)
        if choices is not None and value not in choices:
            raise PlanError(name, value, f"one of {', '.join(choices)}")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PlanError(name, value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise PlanError(name, value, "a finite number") from None


def _number_or_empty(name: str, value: Any) -> float | None:
    """A number that may be left out; the page has it as text, since gradio shows a number that is none as 0."""
    try:
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        if not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise PlanError(name, value, "a number, or empty")
