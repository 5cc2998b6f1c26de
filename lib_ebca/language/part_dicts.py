"""Parts of a plan to plain dicts and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, cast

from lib_ebca.language.checks import PlanError

_Part = TypeVar("_Part")


def part_to_dict(part: Any) -> dict[str, Any]:
    """The fields of a frozen dataclass that are not at their defaults."""
    return {f.name: getattr(part, f.name) for f in fields(part) if getattr(part, f.name) != f.default}


def known_keys(owner: str, data: object, names: Iterable[str]) -> dict[str, Any]:
    """`data` as a dict, if it is a mapping with no keys but `names`. Raises PlanError, which names `owner`."""
    names = tuple(names)
    if not isinstance(data, Mapping):
        raise PlanError(owner, data, f"a mapping with the keys {', '.join(names)}")
    unknown = [key for key in data if key not in names]
    if unknown:
        listed = ", ".join(repr(key) for key in unknown)
        raise PlanError(owner, data, f"made of the keys {', '.join(names)} alone", shown=f"given with {listed}")
    return dict(data)


def part_from_dict(kind: type[_Part], data: object, owner: str) -> _Part:
    """The part of that kind which `data` describes. Raises PlanError, which names `owner`."""
    part_of: Any = kind
    known = known_keys(owner, data, (f.name for f in fields(part_of)))
    for f in fields(part_of):
        if f.name not in known and f.default is MISSING:
            raise PlanError(f"{owner}.{f.name}", None, "given", shown="missing")
    try:
        return cast(_Part, part_of(**known))
    except PlanError as error:
        raise error.within(owner) from None


def parts_from_dicts(kind: type[_Part], data: object, owner: str) -> tuple[_Part, ...]:
    """The parts of that kind which a list of mappings describes. Raises PlanError, which names the place."""
    if not isinstance(data, (list, tuple)):
        raise PlanError(owner, data, "a list of mappings")
    return tuple(part_from_dict(kind, item, f"{owner}[{i}]") for i, item in enumerate(data))
