"""Defaults, includes, axes and variables: from what files say to the fields of single jobs."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import path_of
from lib_ebca.studio.yaml12 import Spelt

from .limits import MOST, Taken, axes_fit
from .schema import FIELDS, TASKS, unknown
from .source import Document, JobsError, Place, Sourced, read, text_of

_KEYS = frozenset({"include", "defaults", "jobs"})
_JOB_KEYS = FIELDS | {"matrix"}
_NO_AXES = frozenset({"name", "task", "matrix"})
_RANGE = frozenset({"start", "count", "step"})
_LARGEST = 10**18
_AXIS_NAME = re.compile(r"[A-Za-z_]\w*")
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


@dataclass(frozen=True)
class RawJob:
    """A job before its axes multiply out."""

    place: Place
    fields: Mapping[str, Sourced]
    axes: Mapping[str, Sequence[Sourced]]

    def __len__(self) -> int:
        return math.prod(map(len, self.axes.values()))


@dataclass(frozen=True)
class Cell:
    """The fields of one job of a matrix, where they were written, and its place on each axis, as text."""

    fields: Mapping[str, Any]
    places: Mapping[str, Place]
    axes: tuple[tuple[str, str], ...]


def jobs_in(file: Path) -> tuple[RawJob, ...]:
    """The jobs of a file and of what it includes, those first. A file means the same wherever it is included.

    Raises UserError.
    """
    return _file(file, (), Taken())[1]


def _pictures(job: RawJob) -> int:
    """How many pictures a job asks for; what is no number of them is told where the job is checked."""
    given = job.fields.get("count")
    variable = _VARIABLE.fullmatch(given.value.strip()) if given and isinstance(given.value, str) else None
    axis = "count" if "count" in job.axes else variable.group(1) if variable else ""
    if axis in job.axes:
        return len(job) // len(job.axes[axis]) * sum(_counted(value.value) for value in job.axes[axis])
    return len(job) * (_counted(given.value) if given else 1)


def _counted(value: Any) -> int:
    return int(value) if isinstance(value, int) and value > 0 else 1


def cells(job: RawJob) -> Iterator[Cell]:
    """All combinations of a job's axes, the last axis running fastest. Raises JobsError."""
    for combination in itertools.product(*job.axes.values()):
        yield _cell(job, dict(zip(job.axes, combination, strict=True)))


def _file(file: Path, around: tuple[Path, ...], taken: Taken) -> tuple[dict[str, Sourced], tuple[RawJob, ...]]:
    document = read(file)
    taken.file(document.place(()))
    for key in document.value:
        if key not in _KEYS:
            hint = f": {key} stands in a job, below jobs or defaults" if key in _JOB_KEYS else ""
            raise JobsError(document.place((key,)), unknown(key, _KEYS, "a file of jobs") + hint)
    around = (*around, file.resolve())
    defaults: dict[str, Sourced] = {}
    jobs: list[RawJob] = []
    for number, name in enumerate(_included(document)):
        other = file.parent / name
        with _headed(document.place(("include", number))):
            if path_of(str(other)).resolve() in around:
                raise JobsError(document.place(("include", number)), f"{name} includes itself")
            theirs, included = _file(other, around, taken)
        defaults |= theirs
        jobs += included
    defaults = _over(defaults, _fields(document, ("defaults",)))
    listed = document.value.get("jobs") or []
    if not isinstance(listed, list):
        raise JobsError(document.place(("jobs",)), "jobs should be a list")
    for number in range(len(listed)):
        job = _raw(document, number, defaults)
        # Counted before anything is multiplied out, or looked at one by one.
        axes_fit(job.place, map(len, job.axes.values()))
        taken.job(job.place, len(job), _pictures(job), (field.value for field in job.fields.values()))
        _check_variables(job)
        jobs.append(job)
    return defaults, tuple(jobs)


@contextmanager
def _headed(place: Place) -> Iterator[None]:
    """A complaint about a whole file is headed by the line that names the file."""
    try:
        yield
    except JobsError:
        raise
    except UserError as error:
        raise JobsError(place, str(error)) from None


def _included(document: Document) -> list[str]:
    names = document.value.get("include", [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise JobsError(document.place(("include",)), "include should be a list of files")
    return names


def _fields(document: Document, where: tuple[str | int, ...]) -> dict[str, Sourced]:
    value: Any = document.value
    for step in where:
        value = (value.get(step) or {}) if isinstance(value, dict) else value[step]
    owner = "a job" if where[0] == "jobs" else "defaults"
    if not isinstance(value, dict):
        raise JobsError(document.place(where), f"{owner} should be a mapping, such as prompt: a cat")
    for key in value:
        if key not in _JOB_KEYS:
            raise JobsError(document.place((*where, key)), unknown(key, _JOB_KEYS, owner))
    fields = {key: Sourced(each, document.place((*where, key))) for key, each in value.items()}
    if "matrix" in fields:
        fields["matrix"] = Sourced(_axes(document, (*where, "matrix"), value["matrix"]), fields["matrix"].place)
    return fields


def _fitting(defaults: Mapping[str, Sourced], own: Mapping[str, Sourced]) -> dict[str, Sourced]:
    """The defaults without those that only other tasks than the job's have a field for."""
    task = {**defaults, **own}.get("task")
    kind = TASKS.get("txt2img" if task is None else str(task.value))
    if kind is None:
        return dict(defaults)
    return {name: value for name, value in defaults.items() if name == "matrix" or name in kind.model_fields}


def _over(defaults: Mapping[str, Sourced], own: Mapping[str, Sourced]) -> dict[str, Sourced]:
    """`own` on top of `defaults`; axes are joined, those of the defaults running slowest."""
    merged = {**defaults, **own}
    if "matrix" in defaults and "matrix" in own:
        merged["matrix"] = Sourced({**defaults["matrix"].value, **own["matrix"].value}, own["matrix"].place)
    return merged


def _raw(document: Document, number: int, defaults: Mapping[str, Sourced]) -> RawJob:
    where = ("jobs", number)
    own = _fields(document, where)
    fields = _over(_fitting(defaults, own), own)
    place = document.place(where)
    matrix = fields.pop("matrix", None)
    axes: dict[str, Sequence[Sourced]] = {} if matrix is None else matrix.value
    for axis in axes:
        if axis in own:
            raise JobsError(own[axis].place, f"{axis} is an axis of the matrix too: give it in one of the two")
    job = RawJob(place, fields, axes)
    return job


def _axes(document: Document, where: tuple[str | int, ...], value: Any) -> dict[str, Sequence[Sourced]]:
    if not isinstance(value, dict) or not value:
        raise JobsError(document.place(where), "matrix should be a mapping from axes to their values")
    axes: dict[str, Sequence[Sourced]] = {}
    for axis, values in value.items():
        place = document.place((*where, axis))
        if axis in _NO_AXES or not _AXIS_NAME.fullmatch(axis):
            raise JobsError(place, f"an axis cannot be named {axis!r}: give it a field's name, or a variable's")
        axes[axis] = _values(document, (*where, axis), values)
        if not axes[axis]:
            raise JobsError(place, f"the axis {axis} has no values")
    return axes


def _values(document: Document, where: tuple[str | int, ...], values: Any) -> Sequence[Sourced]:
    place = document.place(where)
    if isinstance(values, list):
        return tuple(Sourced(value, document.place((*where, i))) for i, value in enumerate(values))
    if isinstance(values, dict) and set(values) == {"file"} and isinstance(values["file"], str):
        file = document.file.parent / values["file"]
        with _headed(place):
            lines = enumerate(text_of(file).splitlines(), start=1)
        return tuple(Sourced(line.strip(), Place(file, number)) for number, line in lines if line.strip())
    if isinstance(values, dict) and "count" in values and set(values) <= _RANGE:
        return _range(place, values)
    ways = "a list, {file: ...} or {start: ..., count: ..., step: ...}"
    raise JobsError(place, f"the axis {where[-1]} should be {ways}")


def _range(place: Place, values: Mapping[str, Any]) -> Sequence[Sourced]:
    start, count, step = values.get("start", 0), values["count"], values.get("step", 1)
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (start, step))
    sane = numbers and abs(start) <= _LARGEST and abs(step) <= _LARGEST
    if not sane or not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST:
        raise JobsError(place, f"a range has a start, a whole count from 1 to {MOST} and a step, all numbers")
    return _Range(start, step, count, place)


@dataclass(frozen=True)
class _Range(Sequence[Sourced]):
    """The values of a range, each made when it is asked for: how many they are is known before any is there."""

    start: float
    step: float
    length: int
    place: Place

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, i: int) -> Sourced: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Sourced]: ...
    def __getitem__(self, i: int | slice) -> Sourced | Sequence[Sourced]:
        if isinstance(i, slice):
            return [self[each] for each in range(*i.indices(self.length))]
        if not 0 <= i < self.length:
            raise IndexError(i)
        # Multiplied rather than added up, and rounded: 0.1 * 3 is meant as 0.3, in names and labels too.
        return Sourced(_tidy(self.start + i * self.step), self.place)


def _tidy(value: float) -> float:
    return value if isinstance(value, int) else round(float(value), 12)


def _check_variables(job: RawJob) -> None:
    used: set[str] = set()
    texts = ((axis, values) for axis, values in job.axes.items() if not isinstance(values, _Range))
    on_axes = [value for axis, values in texts if axis in FIELDS for value in values]
    for field in (*job.fields.values(), *on_axes):
        for name in _names_in(field.value):
            if name not in job.axes:
                raise JobsError(field.place, f"{{{{{name}}}}} is not an axis of the job's matrix")
            used.add(name)
    for axis, values in job.axes.items():
        if axis not in FIELDS and axis not in used:
            raise JobsError(values[0].place, f"the axis {axis} is neither a field nor used anywhere as {{{{{axis}}}}}")


def _names_in(value: Any) -> set[str]:
    if isinstance(value, str):
        return set(_VARIABLE.findall(value))
    return set().union(*map(_names_in, value)) if isinstance(value, list) else set()


def _cell(job: RawJob, axes: Mapping[str, Sourced]) -> Cell:
    fields = {**job.fields, **{axis: value for axis, value in axes.items() if axis in FIELDS}}
    filled = {name: _filled(field.value, axes) for name, field in fields.items() if field.value is not None}
    places = {name: field.place for name, field in fields.items()}
    return Cell(filled, places, tuple((axis, shown(value.value)) for axis, value in axes.items()))


def shown(value: Any) -> str:
    """A value as it looks in labels and inside of texts."""
    if isinstance(value, list):
        return " ".join(map(shown, value)) or "none"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Spelt):
        return value.text
    return repr(value) if isinstance(value, int | float) else str(value)


def _filled(value: Any, axes: Mapping[str, Sourced]) -> Any:
    if isinstance(value, list):
        return [_filled(each, axes) for each in value]
    if not isinstance(value, str):
        return value
    whole = _VARIABLE.fullmatch(value.strip())
    if whole:
        # Alone, a variable keeps its kind: steps: "{{n}}" is a number.
        return axes[whole.group(1)].value
    return _VARIABLE.sub(lambda found: shown(axes[found.group(1)].value), value)
