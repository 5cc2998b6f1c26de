"""What is wanted of a generation: frozen, validated, comparable, and readable from and writable to dicts and text."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from lib_ebca.language.checks import PlanError, parts_of, set_fields, shortened
from lib_ebca.language.concept import Concept
from lib_ebca.language.excite import Excite
from lib_ebca.language.follow import Follow, follow_to_dict
from lib_ebca.language.part_dicts import known_keys, part_from_dict, part_to_dict, parts_from_dicts
from lib_ebca.language.parts import PRIORS, PUBLISHED_ATTN, PUBLISHED_NORM, SCHEDULES, Boost, ContextUpdate, Edit

__all__ = [
    "PRIORS",
    "PUBLISHED_ATTN",
    "PUBLISHED_NORM",
    "SCHEDULES",
    "Boost",
    "Concept",
    "ContextUpdate",
    "Edit",
    "Excite",
    "Follow",
    "Plan",
]

SMALLEST_DENOMINATOR = 0.1

# 1 + (-0.9) is 0.09999999999999998 in binary; a sum that is 0.1 on paper has to pass.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Plan:
    """Everything asked of one picture. Lists are accepted and become tuples.

    A boost scales the pull of the update, so boosts without an update get the published ContextUpdate().
    Raises PlanError, also when at some moment 1 + the strengths of the edits that act then falls below 0.1.
    """

    update: ContextUpdate | None = None
    edits: tuple[Edit, ...] = ()
    boosts: tuple[Boost, ...] = ()
    concepts: tuple[Concept, ...] = ()
    excite: tuple[Excite, ...] = ()
    follow: Follow | None = None
    # Merging needs to know whether the update was asked for or came with a boost.
    _update_implied: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.update is not None and not isinstance(self.update, ContextUpdate):
            raise PlanError("update", self.update, "a ContextUpdate or None")
        if self.follow is not None and not isinstance(self.follow, Follow):
            raise PlanError("follow", self.follow, "a Follow or None")
        set_fields(self, edits=parts_of("edits", self.edits, Edit), boosts=parts_of("boosts", self.boosts, Boost))
        set_fields(self, concepts=parts_of("concepts", self.concepts, Concept))
        set_fields(self, excite=parts_of("excite", self.excite, Excite))
        _refuse_vanishing_denominator(self.edits)
        if self.boosts and self.update is None:
            set_fields(self, update=ContextUpdate(), _update_implied=True)
        if self.boosts and self.update is not None and self.update.attn == 0.0:
            raise PlanError("update.attn", 0.0, "other than 0 where a word is boosted, for a boost multiplies it")

    @property
    def active(self) -> bool:
        """Whether it changes anything at any moment of a pass."""
        updates = self.update is not None and self.update.active
        parts: tuple[Edit | Concept | Excite, ...] = (*self.edits, *self.concepts, *self.excite)
        return updates or self.follow is not None or any(part.active for part in parts)

    @property
    def named_concepts(self) -> tuple[str, ...]:
        """The concepts that it looks up among the head relevance vectors."""
        subjects = tuple(each.concept for each in self.excite if each.concept is not None and each.active)
        return (*(name for concept in self.concepts for name, _ in concept.weights), *subjects)

    @property
    def stated_update(self) -> ContextUpdate | None:
        """The update as asked for: None where it only came along with a boost."""
        return None if self._update_implied else self.update

    def merged(self, other: Plan) -> Plan:
        """This plan and then `other`: its update and following, if stated, replace ours, the rest is appended."""
        update = self.stated_update if other.stated_update is None else other.stated_update
        return Plan(
            update,
            self.edits + other.edits,
            self.boosts + other.boosts,
            self.concepts + other.concepts,
            self.excite + other.excite,
            self.follow if other.follow is None else other.follow,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, defaults left out; `from_dict` reads it back to an equal plan."""
        data: dict[str, Any] = {}
        if self.stated_update is not None:
            data["update"] = part_to_dict(self.stated_update)
        if self.edits:
            data["edits"] = [part_to_dict(edit) for edit in self.edits]
        if self.boosts:
            data["boosts"] = [part_to_dict(boost) for boost in self.boosts]
        if self.concepts:
            data["concepts"] = [part_to_dict(concept) | {"weights": dict(concept.weights)} for concept in self.concepts]
        if self.excite:
            data["excite"] = [part_to_dict(excite) for excite in self.excite]
        if self.follow is not None:
            data["follow"] = follow_to_dict(self.follow)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` wrote. Raises PlanError, also for keys it does not know."""
        known = known_keys("plan", data, ("update", "edits", "boosts", "concepts", "excite", "follow"))
        update, follow = known.get("update"), known.get("follow")
        return cls(
            update=None if update is None else part_from_dict(ContextUpdate, update, "update"),
            edits=parts_from_dicts(Edit, known.get("edits", ()), "edits"),
            boosts=parts_from_dicts(Boost, known.get("boosts", ()), "boosts"),
            concepts=parts_from_dicts(Concept, known.get("concepts", ()), "concepts"),
            excite=parts_from_dicts(Excite, known.get("excite", ()), "excite"),
            follow=None if follow is None else part_from_dict(Follow, follow, "follow"),
        )


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
        if denominator < SMALLEST_DENOMINATOR - ROUNDING:
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
