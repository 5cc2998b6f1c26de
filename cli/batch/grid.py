"""A matrix laid out: which picture stands where on the axes of its job."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lib_ebca.studio.errors import UserError

from .items import Item

_LONGEST_LABEL = 40


@dataclass(frozen=True)
class Axis:
    """An axis and its values as text, in the order of the matrix."""

    name: str
    values: tuple[str, ...]

    def label(self, value: str) -> str:
        """A value, with the axis's name, short enough for a margin."""
        text = f"{self.name} {value}"
        return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…"


@dataclass(frozen=True)
class Cube:
    """The pictures of one job by their places: the first axis runs across, the second down, the others turn pages."""

    job: str
    title: str
    axes: tuple[Axis, ...]
    items: dict[tuple[str, ...], Item]

    @property
    def across(self) -> Axis:
        """The axis of the columns."""
        return self.axes[0]

    @property
    def down(self) -> Axis:
        """The axis of the rows; one nameless value where the job has one axis alone."""
        return self.axes[1] if len(self.axes) > 1 else Axis("", ("",))

    @property
    def pages(self) -> Iterator[tuple[str, ...]]:
        """The values of all further axes, combination by combination."""
        return itertools.product(*(axis.values for axis in self.axes[2:]))

    def at(self, x: str, y: str, page: tuple[str, ...]) -> Item | None:
        """The picture there, if the job asks for one."""
        return self.items.get((x, y, *page) if len(self.axes) > 1 else (x,))


def cubes(items: Sequence[Item], x: str | None, y: str | None) -> tuple[Cube, ...]:
    """A cube for each job with axes. `x` and `y` name the axes that run across and down.

    Raises UserError where there is no such axis, or no axis at all.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Item]] = {}
    for item in items:
        if item.axes:
            groups.setdefault((item.job_name, tuple(name for name, _ in item.axes)), []).append(item)
    if not groups:
        raise UserError("no job has a matrix to lay out: give one, such as matrix: {seed: [1, 2], cfg: [5, 7.5]}")
    return tuple(_cube(job, _ordered(names, x, y), group) for (job, names), group in groups.items())


def _ordered(names: tuple[str, ...], x: str | None, y: str | None) -> tuple[str, ...]:
    for option, name in (("--x", x), ("--y", y)):
        if name is not None and name not in names:
            raise UserError(f"{option} is {name!r}: it should be one of the axes {', '.join(names)}")
    if x is not None and x == y:
        raise UserError(f"--x and --y are both {x!r}: they should be two axes")
    rest = [name for name in names if name not in (x, y)]
    first = x if x is not None else rest.pop(0) if rest else y
    second = y if y != first else None
    return tuple(name for name in (first, second, *rest) if name is not None)


def _cube(job: str, names: tuple[str, ...], items: list[Item]) -> Cube:
    axes = tuple(Axis(name, tuple(dict.fromkeys(dict(item.axes)[name] for item in items))) for name in names)
    placed = {tuple(dict(item.axes)[name] for name in names): item for item in items}
    prompts = {item.wanted.prompt for item in items}
    title = f"{job}: {prompts.pop()}" if len(prompts) == 1 else job
    return Cube(job, title, axes, placed)
