"""What is wanted of a generation: frozen, validated, comparable, and readable from and writable to dicts and text."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from fractions import Fraction
from itertools import pairwise
from typing import Any, TypeVar

from lib_ebca.language.checks import (
    PlanError,
    choice,
    count_from_one,
    filled_text,
    number,
    parts_of,
    set_fields,
    shortened,
    window,
)

PUBLISHED_ATTN = 0.01
PUBLISHED_NORM = 0.02
SCHEDULES = ("constant", "step", "reverse_step", "linear", "exp")
PRIORS = ("published", "paper")
SMALLEST_DENOMINATOR = 0.1

_RATIO_SCHEDULES = ("linear", "exp")
# 1 + (-0.9) is 0.09999999999999998 in binary; a sum that is 0.1 on paper has to pass.
_ROUNDING = 1e-9
_OCCURRENCE = re.compile(r"(.*\S)\s*#([0-9]{1,6})", re.DOTALL)
_Part = TypeVar("_Part", bound="ContextUpdate | Edit | Boost")


@dataclass(frozen=True)
class ContextUpdate:
    """One gradient step of the main context per cross-attention layer (BCU; the paper's Eq. 8).

    `attn` and `norm` are the step sizes gamma_attn and gamma_norm, without units; negative ones are allowed, as a
    control. `start` and `until` are fractions of the pass. `ratio` belongs to the schedules linear and exp alone.
    `prior` is "published" (the authors' code: no one half before |k|^2) or "paper" (with it).
    Raises PlanError.
    """

    attn: float = PUBLISHED_ATTN
    norm: float = PUBLISHED_NORM
    start: float = 0.0
    until: float = 1.0
    schedule: str = "constant"
    ratio: float | None = None
    prior: str = "published"

    def __post_init__(self) -> None:
        start, until = window(self.start, self.until)
        schedule = choice("schedule", self.schedule, SCHEDULES)
        if schedule in _RATIO_SCHEDULES:
            expected = f"a finite number, which the schedule {schedule} needs"
            set_fields(self, ratio=number("ratio", self.ratio, expected))
        elif self.ratio is not None:
            raise PlanError("ratio", self.ratio, f"left out, for the schedule {schedule} has none (linear and exp do)")
        set_fields(self, attn=number("attn", self.attn), norm=number("norm", self.norm), start=start, until=until)
        choice("prior", self.prior, PRIORS)

    @property
    def active(self) -> bool:
        """Whether it changes anything at any moment of a pass."""
        return (self.attn != 0.0 or self.norm != 0.0) and _ever_on(self.start, self.until)


@dataclass(frozen=True)
class Edit:
    """One editorial prompt, averaged into the output of every cross-attention layer (CACAO).

    `text` is an ordinary prompt, emphasis and all. The sign of `strength` (alpha) is its direction: positive adds,
    negative takes away. `attn` and `norm` are BCU on the editorial context, in the same window. Raises PlanError.
    """

    text: str
    strength: float
    start: float = 0.0
    until: float = 1.0
    attn: float = 0.0
    norm: float = 0.0

    def __post_init__(self) -> None:
        start, until = window(self.start, self.until)
        set_fields(self, text=filled_text("text", self.text, "a prompt that is not empty"), start=start, until=until)
        for name in ("strength", "attn", "norm"):
            set_fields(self, **{name: number(name, getattr(self, name))})

    @property
    def active(self) -> bool:
        """Whether it changes anything at any moment of a pass."""
        return self.strength != 0.0 and _ever_on(self.start, self.until)


@dataclass(frozen=True)
class Boost:
    """A stronger pull of the picture for a word or phrase: it multiplies that word's part of the update's `attn` term.

    "*" stands for every content word. "shirt#2" is the second shirt: the same as word "shirt", occurrence 2.
    Without an occurrence every one is meant. Raises PlanError.
    """

    word: str
    factor: float
    occurrence: int | None = None

    def __post_init__(self) -> None:
        word, occurrence = filled_text("word", self.word, "a word or phrase of the prompt, or *"), self.occurrence
        numbered = _OCCURRENCE.fullmatch(word)
        if occurrence is None and numbered is not None:
            word, occurrence = numbered.group(1), int(numbered.group(2))
        if occurrence is not None:
            occurrence = count_from_one("occurrence", occurrence)
            if word == "*":
                raise PlanError("occurrence", occurrence, "left out for *, which means every content word")
        factor = number("factor", self.factor, "a finite number of at least 0")
        if factor < 0.0:
            raise PlanError("factor", factor, "a finite number of at least 0")
        set_fields(self, word=word, occurrence=occurrence, factor=factor)


@dataclass(frozen=True)
class Plan:
    """Everything asked of one picture. Lists are accepted and become tuples.

    A boost scales the pull of the update, so boosts without an update get the published ContextUpdate().
    Raises PlanError, also when at some moment 1 + the strengths of the edits that act then falls below 0.1.
    """

    update: ContextUpdate | None = None
    edits: tuple[Edit, ...] = ()
    boosts: tuple[Boost, ...] = ()
    # Merging needs to know whether the update was asked for or came with a boost.
    _update_implied: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.update is not None and not isinstance(self.update, ContextUpdate):
            raise PlanError("update", self.update, "a ContextUpdate or None")
        set_fields(self, edits=parts_of("edits", self.edits, Edit), boosts=parts_of("boosts", self.boosts, Boost))
        _refuse_vanishing_denominator(self.edits)
        if self.boosts and self.update is None:
            set_fields(self, update=ContextUpdate(), _update_implied=True)
        if self.boosts and self.update is not None and self.update.attn == 0.0:
            raise PlanError("update.attn", 0.0, "other than 0 where a word is boosted, for a boost multiplies it")

    @property
    def active(self) -> bool:
        """Whether it changes anything at any moment of a pass."""
        return (self.update is not None and self.update.active) or any(edit.active for edit in self.edits)

    @property
    def stated_update(self) -> ContextUpdate | None:
        """The update as asked for: None where it only came along with a boost."""
        return None if self._update_implied else self.update

    def merged(self, other: Plan) -> Plan:
        """This plan and then `other`: the update that `other` states replaces ours, edits and boosts are appended."""
        update = self.stated_update if other.stated_update is None else other.stated_update
        return Plan(update, self.edits + other.edits, self.boosts + other.boosts)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, defaults left out; `from_dict` reads it back to an equal plan."""
        data: dict[str, Any] = {}
        if self.stated_update is not None:
            data["update"] = _part_to_dict(self.stated_update)
        if self.edits:
            data["edits"] = [_part_to_dict(edit) for edit in self.edits]
        if self.boosts:
            data["boosts"] = [_part_to_dict(boost) for boost in self.boosts]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` wrote. Raises PlanError, also for keys it does not know."""
        known = _known("plan", data, ("update", "edits", "boosts"))
        update = known.get("update")
        return cls(
            update=None if update is None else _part_from_dict(ContextUpdate, update, "update"),
            edits=_parts_from_dicts(Edit, known.get("edits", ()), "edits"),
            boosts=_parts_from_dicts(Boost, known.get("boosts", ()), "boosts"),
        )


def _ever_on(start: float, until: float) -> bool:
    return start < until or until == 1.0


def _refuse_vanishing_denominator(edits: tuple[Edit, ...]) -> None:
    # An edit that lasts until 1 also acts in the spare evaluation after the last step (PNDM), so it has no end here.
    changes: defaultdict[float, Fraction] = defaultdict(Fraction)
    for edit in edits:
        changes[edit.start] += Fraction(edit.strength)
        if edit.until < 1.0:
            changes[edit.until] -= Fraction(edit.strength)
    denominator = Fraction(1)
    for moment, end in pairwise([*sorted(changes), 1.0]):
        denominator += changes[moment]
        if denominator < SMALLEST_DENOMINATOR - _ROUNDING:
            acting = tuple(
                edit for edit in edits if edit.start <= moment and (moment < edit.until or edit.until == 1.0)
            )
            raise _vanishing(acting, moment, end, denominator)


def _vanishing(acting: tuple[Edit, ...], moment: float, end: float, denominator: Fraction) -> PlanError:
    names = ", ".join(f"{shortened(edit.text, 30)!r} ({edit.strength:+g})" for edit in acting[:8])
    names += f" and {len(acting) - 8} more" if len(acting) > 8 else ""
    total = float(max(denominator, Fraction(-sys.float_info.max)))
    return PlanError(
        "edits",
        acting,
        f"at least {SMALLEST_DENOMINATOR:g} at every moment: make the negative strengths smaller or add positive ones",
        shown=f"{names}, acting from {moment:g} to {end:g} of the pass, where 1 + their strengths is {total:g}",
    )


def _part_to_dict(part: ContextUpdate | Edit | Boost) -> dict[str, Any]:
    return {f.name: getattr(part, f.name) for f in fields(part) if getattr(part, f.name) != f.default}


def _known(owner: str, data: object, names: Iterable[str]) -> dict[str, Any]:
    names = tuple(names)
    if not isinstance(data, Mapping):
        raise PlanError(owner, data, f"a mapping with the keys {', '.join(names)}")
    unknown = [key for key in data if key not in names]
    if unknown:
        listed = ", ".join(repr(key) for key in unknown)
        raise PlanError(owner, data, f"made of the keys {', '.join(names)} alone", shown=f"given with {listed}")
    return dict(data)


def _part_from_dict(kind: type[_Part], data: object, owner: str) -> _Part:
    known = _known(owner, data, (f.name for f in fields(kind)))
    for f in fields(kind):
        if f.name not in known and f.default is MISSING:
            raise PlanError(f"{owner}.{f.name}", None, "given", shown="missing")
    try:
        return kind(**known)
    except PlanError as error:
        raise error.within(owner) from None


def _parts_from_dicts(kind: type[_Part], data: object, owner: str) -> tuple[_Part, ...]:
    if not isinstance(data, (list, tuple)):
        raise PlanError(owner, data, "a list of mappings")
    return tuple(_part_from_dict(kind, item, f"{owner}[{i}]") for i, item in enumerate(data))
