"""From a file of jobs to the single pictures it asks for, each with a key that says what is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from lib_ebca.reading import refuse_no_file
from lib_ebca.studio import samplers
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import embedded, locate, path_of, refuse_pickle
from lib_ebca.studio.recipe import Lora, Settings
from lib_ebca.studio.request import Wanted

from .. import photo_options
from . import matrix, schema
from .limits import MOST
from .matrix import Cell, RawJob
from .schema import AnyJob, EditPhoto, P2p
from .source import JobsError, Place
from .together import follow_of, options_of

# Part of every key: raised when the same job begins to mean another picture.
_VERSION = 1
_KEY_DIGITS = 16
# Said by other fields of the facts, or no part of the picture.
_OF_THE_PLAN = ("bcu", "edit", "boost", "concept", "excite", "preset")
_NOT_FACTS = frozenset({"name", "count", "seed", *_OF_THE_PLAN, "lora", "photo", "mask", "vectors"})


@dataclass(frozen=True)
class Item:
    """One picture. `key` is the hash of all that makes it, `label` its job and its place among the job's pictures.

    `name` is that of its file, below the folder of the run. `number` counts from 1 over the whole run. `member` is its
    place among the pictures that are drawn beside each other: 0 for a source, and for what is drawn alone.
    """

    key: str
    label: str
    number: int
    job: AnyJob
    job_name: str
    wanted: Wanted
    settings: Settings
    seed: int
    axes: tuple[tuple[str, str], ...]
    place: str
    photo: Path | None = None
    mask: Path | None = None
    member: int = 0
    name: str = field(default="")


@dataclass(frozen=True)
class Asked:
    """All pictures that a file of jobs asks for, each once. `doubles` is how many it asked for once more."""

    items: tuple[Item, ...]
    doubles: int

    @property
    def digest(self) -> str:
        """The same for files of jobs that ask for the same pictures, in whatever order."""
        return hashlib.sha256("".join(sorted(item.key for item in self.items)).encode()).hexdigest()


def asked(file: Path, allow_pickle: bool = False) -> Asked:
    """The pictures that the file asks for, in its order, without names yet. Loads no model. Raises UserError."""
    items: dict[str, Item] = {}
    total = 0
    for item in _items(matrix.jobs_in(file), allow_pickle):
        total += 1
        if total > MOST:
            raise UserError(f"{file} asks for more than {MOST} pictures: a run has at most so many")
        items.setdefault(item.key, replace(item, number=len(items) + 1))
    if not items:
        raise UserError(f"{file} asks for no pictures: it should have a job, such as jobs: [{{prompt: a cat}}]")
    return Asked(tuple(items.values()), total - len(items))


def _items(jobs: Iterable[RawJob], allow_pickle: bool) -> Iterator[Item]:
    files = _Files(allow_pickle)
    for number, raw in enumerate(jobs, start=1):
        count = 0
        for cell in matrix.cells(raw):
            job = schema.job(cell.fields, cell.places, raw.place)
            name = job.name or f"job{number}"
            made = _Maker(job, cell, raw.place, files)
            for seed in range(job.seed, job.seed + job.count):
                for member in range(made.members):
                    count += 1
                    yield made.item(seed, name, f"{name}[{count}]", member)


class _Maker:
    """What the pictures of a cell have in common."""

    def __init__(self, job: AnyJob, cell: Cell, whole: Place, files: _Files) -> None:
        self._job, self._cell, self._whole = job, cell, whole
        self._photo = self._file("photo", files.file)
        self._mask = self._file("mask", files.file)
        self._vectors = self._file("vectors", files.file)
        self._loras = self._checked("lora", lambda place: tuple(files.lora(text, place) for text in job.lora))
        model = self._checked("model", lambda place: files.model(job.model, place))
        sampler = getattr(job, "sampler", None)
        if sampler is not None:
            sampler = self._checked("sampler", lambda place: samplers.canonical(sampler))
        self._wanted, drift = self._checked_plan()
        self._together = self._checked_targets(job) if isinstance(job, P2p) else (self._wanted,)
        text, drift = self._plain_negative(), job.drift if job.drift is not None else bool(drift)
        self._settings = Settings(
            model=model,
            loras=tuple(lora for lora, _ in self._loras),
            negative=text,
            sampler="DDIM" if isinstance(job, EditPhoto) else sampler,
            steps=job.steps,
            guidance=job.cfg,
            width=job.width,
            height=job.height,
            dtype=job.dtype,
            clip_skip=job.clip_skip,
            drift=drift,
            vectors=self._vectors and str(self._vectors[0]),
        )
        plain = job.model_dump(exclude=set(_NOT_FACTS))
        self._facts = {**plain, "version": _VERSION, "sampler": sampler, "drift": drift, "negative": text}
        self._facts["plan"] = self._wanted.plan.to_dict()
        self._facts["loras"] = [(digest, lora.weight) for lora, digest in self._loras]
        self._facts["photo"] = self._photo and self._photo[1]
        self._facts["mask"] = self._mask and self._mask[1]
        # Written down only where it is asked for: runs of before keep their keys.
        if self._vectors is not None:
            self._facts["vectors"] = self._vectors[1]

    @property
    def members(self) -> int:
        """How many pictures of one seed are drawn beside each other."""
        return len(self._together)

    def item(self, seed: int, name: str, label: str, member: int = 0) -> Item:
        """The picture of one seed."""
        beside = {"member": member} if self.members > 1 else {}
        text = json.dumps({**self._facts, "seed": seed, **beside}, sort_keys=True, ensure_ascii=False)
        axes = self._cell.axes
        if self._job.count > 1:
            axes = (*(axis for axis in axes if axis[0] != "seed"), ("seed", str(seed)))
        return Item(
            key=hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS],
            label=label,
            number=0,
            job=self._job,
            job_name=name,
            wanted=self._together[member],
            member=member,
            settings=self._settings,
            seed=seed,
            axes=axes,
            place=str(self._whole),
            photo=self._photo and self._photo[0],
            mask=self._mask and self._mask[0],
        )

    def _checked_plan(self) -> tuple[Wanted, bool | None]:
        job = self._job
        text = job.caption if isinstance(job, EditPhoto) else job.prompt
        field = "caption" if isinstance(job, EditPhoto) else "prompt"

        given: dict[str, Any] = {"preset": job.preset, "bcu": job.bcu, "edits": job.edit, "boosts": job.boost}
        given |= {"concepts": job.concept, "excites": job.excite}
        nothing: dict[str, Any] = {"preset": None, "bcu": None, "edits": (), "boosts": (), "concepts": ()}
        nothing["excites"] = ()
        asked_plan = partial(photo_options.asked_plan, job.task)
        named = field
        # Each alone first, so that the one that is wrong is named.
        for option, value in given.items():
            if value != nothing[option]:
                named = option.removesuffix("s")
                self._checked(named, lambda place, alone={option: value}: asked_plan(**nothing | alone))
        plan, drift = self._checked(named, lambda place: asked_plan(**given))
        wanted: Wanted = self._checked(field, lambda place: photo_options.wanted(text, plan, None))
        if isinstance(job, EditPhoto) and job.reconstruct == wanted.plan.active:
            what = "reconstruct gives the photograph back" if job.reconstruct else "there is nothing to change"
            should = "leave out edit, bcu and boost" if job.reconstruct else "add edit, such as edit: dog:0.75"
            raise JobsError(self._place("reconstruct" if job.reconstruct else field), f"{what}: {should}")
        return wanted, drift

    def _checked_targets(self, job: P2p) -> tuple[Wanted, ...]:
        """The source and the targets; in what they follow is known where there is a tokenizer."""
        # Each alone first, as above.
        for option in ("cross", "cross_word", "self", "weight", "blend"):
            alone = P2p(task="p2p", prompt="a", targets=("a",), **{option: getattr(job, option)})
            self._checked(option, lambda place, alone=alone: follow_of(alone))
        plain = options_of(job, concepts=False)
        source = self._checked("prompt", lambda place: photo_options.wanted(job.prompt, plain, None))
        targets = [
            self._checked("targets", lambda place, text=text: photo_options.wanted(text, plain, None))
            for text in job.targets
        ]
        return source, *targets

    def _plain_negative(self) -> str:
        from lib_ebca.language.directives import parse

        negative = self._job.negative
        if negative is None:
            # An edit keeps what it is not asked to change: its caption stands on both sides.
            return parse(self._wanted.prompt).text
        if self._checked("negative", lambda place: parse(negative).text) != negative:
            raise JobsError(self._place("negative"), f"negative is {negative!r}: directives belong in the prompt")
        return negative

    def _file(self, field: str, read: Any) -> tuple[Path, str] | None:
        given = getattr(self._job, field, None)
        if given is None:
            return None
        found: tuple[Path, str] = self._checked(field, lambda place: read(given, place))
        return found

    def _checked(self, field: str, make: Any) -> Any:
        """What `make` makes; its complaint is headed by the line of the field."""
        place = self._place(field)
        try:
            return make(place)
        except JobsError:
            raise
        except UserError as error:
            raise JobsError(place, f"{field}: {error}") from None
        except ValueError as error:
            if not type(error).__module__.startswith("lib_ebca."):
                raise
            raise JobsError(place, f"{field}: {error}") from None

    def _place(self, field: str) -> Place:
        return self._cell.places.get(field, self._whole)


class _Files:
    """Files that jobs name, relative to the file of jobs; each is looked at once."""

    def __init__(self, allow_pickle: bool) -> None:
        self._allow_pickle = allow_pickle
        self._hash = lru_cache(maxsize=None)(_hash)
        self._found = lru_cache(maxsize=None)(self._located)

    def model(self, given: str, place: Place) -> str:
        """Where the model lies, if it is not known by its name alone."""
        return self._found(given, place.file)

    def _located(self, given: str, file: Path) -> str:
        beside = _beside(file, given)
        where = str(beside.absolute()) if given not in embedded() and beside.exists() else given
        locate(where, self._allow_pickle)
        return where

    def lora(self, given: str, place: Place) -> tuple[Lora, str]:
        """The LoRA with its whole path, and the hash of its file."""
        lora = Lora.parse(given)
        path = _beside(place.file, lora.path).absolute()
        refuse_pickle(path, self._allow_pickle)
        return Lora(str(path), lora.weight), self._hash(path)

    def file(self, given: str, place: Place) -> tuple[Path, str]:
        """A file's whole path, and the hash of its file."""
        path = _beside(place.file, given).absolute()
        return path, self._hash(path)


def _beside(file: Path, given: str) -> Path:
    return path_of(str(file.parent / path_of(given)))


def _hash(path: Path) -> str:
    try:
        refuse_no_file(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
