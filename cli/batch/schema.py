"""What a job may say: the options of the command that it stands for, under the same names."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lib_ebca.language.checks import MOST_COUNTED, shortened
from lib_ebca.studio.recipe import EMBEDDED_DEFAULT
from lib_ebca.studio.values import LARGEST_GUIDANCE, LONGEST_PROMPT, LONGEST_SIDE, MOST_JUMPS, MOST_STEPS

from ..p2p import CROSS, SELF, THRESHOLD
from .limits import MOST
from .source import JobsError, Place

_LAST_SEED = 2**63 - 1


def _listed(value: Any) -> Any:
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, str) else value


def _bare(value: Any) -> Any:
    """`bcu: true` is the option without a value, `bcu: false` no option at all."""
    return {True: "", False: None}[value] if isinstance(value, bool) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Share = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, bool) else f"{value}")]
"""Of the pass: 0.8, or "0.1-0.8"."""
Side = Annotated[int | None, Field(ge=8, le=LONGEST_SIDE, multiple_of=8)]


class Job(BaseModel):
    """What the jobs of all tasks may say."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    name: str | None = Field(default=None, min_length=1)
    bcu: Annotated[str | None, BeforeValidator(_bare)] = None
    edit: Texts = ()
    boost: Texts = ()
    concept: Texts = ()
    excite: Texts = ()
    vectors: str | None = Field(default=None, min_length=1)
    preset: str | None = None
    model: str = EMBEDDED_DEFAULT
    lora: Texts = ()
    steps: int = Field(default=50, ge=1, le=MOST_STEPS)
    cfg: float = Field(default=7.5, ge=1, le=LARGEST_GUIDANCE)
    width: Side = None
    height: Side = None
    seed: int = Field(default=0, ge=0, le=_LAST_SEED)
    count: int = Field(default=1, ge=1, le=MOST)
    clip_skip: int = Field(default=1, ge=1)
    drift: bool | None = None
    dtype: Literal["float32", "float16", "bfloat16"] | None = None

    @model_validator(mode="after")
    def _seeds_exist(self) -> Job:
        if self.seed + self.count - 1 > _LAST_SEED:
            raise ValueError(f"seed + count should stay below {_LAST_SEED + 1}")
        return self


class Txt2img(Job):
    """`ebca txt2img`."""

    task: Literal["txt2img"] = "txt2img"
    prompt: str
    negative: str = ""
    sampler: str | None = None


class P2p(Job):
    """`ebca p2p`: the source's picture, and one for each of the targets."""

    task: Literal["p2p"]
    prompt: str
    targets: Texts = Field(min_length=1)
    negative: str = ""
    sampler: str | None = None
    cross: Share = CROSS
    cross_word: Texts = ()
    self: Share = SELF
    blend: Texts = ()
    threshold: float = Field(default=THRESHOLD, ge=0, le=1)
    weight: Texts = ()
    align: Literal["auto", "replace", "refine"] = "auto"
    published: bool = False

    @property
    def prompts(self) -> tuple[str, ...]:
        """The source's and the targets'."""
        return (self.prompt, *self.targets)


class _Partial(Job):
    """A task that runs the last part of a pass alone."""

    strength: float = Field(default=1.0, gt=0, le=1)

    @model_validator(mode="after")
    def _some_steps(self) -> _Partial:
        if int(self.steps * self.strength) < 1:
            raise ValueError(f"strength {self.strength:g} of {self.steps} steps is none at all: raise one of them")
        return self


class Img2img(_Partial):
    """`ebca img2img`."""

    task: Literal["img2img"]
    photo: str = Field(min_length=1)
    prompt: str
    negative: str = ""
    sampler: str | None = None
    strength: float = Field(default=0.75, gt=0, le=1)
    fit: Literal["resize", "crop"] = "resize"


class Inpaint(_Partial):
    """`ebca inpaint`."""

    task: Literal["inpaint"]
    photo: str = Field(min_length=1)
    mask: str = Field(min_length=1)
    prompt: str
    negative: str = ""
    sampler: str | None = None
    fit: Literal["resize", "crop"] = "resize"
    repaint: bool = False
    jump_length: int = Field(default=10, ge=1, le=MOST_COUNTED)
    jump_count: int = Field(default=10, ge=1, le=MOST_JUMPS)
    paste_back: bool = True
    feather: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _repaint_has_its_own(self) -> Inpaint:
        if self.repaint and not {"strength", "sampler"}.isdisjoint(self.model_fields_set):
            raise ValueError("repaint has a sampler of its own and starts from noise: leave out sampler and strength")
        if not self.repaint and not {"jump_length", "jump_count"}.isdisjoint(self.model_fields_set):
            raise ValueError("jump_length and jump_count belong to repaint: add repaint: true")
        return self


class EditPhoto(Job):
    """`ebca edit`."""

    task: Literal["edit"]
    photo: str = Field(min_length=1)
    caption: str = Field(min_length=1)
    negative: str | None = None
    steps: int = Field(default=50, ge=2, le=999)
    fit: Literal["resize", "crop"] = "resize"
    reconstruct: bool = False
    inversion: Literal["fixed-point", "published"] = "fixed-point"
    iterations: int = Field(default=10, ge=1, le=MOST_COUNTED)
    tolerance: float = Field(default=1e-4, ge=0)
    rounds: int = Field(default=5, ge=0, le=MOST_COUNTED)
    auto_correlation: float = Field(default=20.0, ge=0)
    kl: float = Field(default=20.0, ge=0)


AnyJob = Txt2img | P2p | Img2img | Inpaint | EditPhoto
TASKS: Mapping[str, type[AnyJob]] = {
    "txt2img": Txt2img,
    "p2p": P2p,
    "img2img": Img2img,
    "inpaint": Inpaint,
    "edit": EditPhoto,
}
FIELDS = frozenset(field for task in TASKS.values() for field in task.model_fields)


def job(fields: Mapping[str, Any], places: Mapping[str, Place], whole: Place) -> AnyJob:
    """The job that `fields` describe; `places` are where they were written, `whole` where the job begins.

    Raises JobsError, naming file, line and field.
    """
    task = fields.get("task", "txt2img")
    kind = TASKS.get(task) if isinstance(task, str) else None
    if kind is None:
        raise JobsError(places.get("task", whole), f"task is {task!r}: it should be one of {', '.join(TASKS)}")
    for name, value in fields.items():
        texts = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
        if any(len(text) > LONGEST_PROMPT for text in texts):
            raise JobsError(places.get(name, whole), f"{name} has more than {LONGEST_PROMPT} characters")
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError:
            raise JobsError(places.get(name, whole), f"{name} is {value!r}, which is no valid Unicode text") from None
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else None
        place = whole if field is None else places.get(field, whole)
        raise JobsError(place, _sentence(first, field, task, kind)) from None


def unknown(field: str, known: Mapping[str, Any] | frozenset[str], owner: str) -> str:
    """A sentence on a field that `owner` does not have."""
    close = difflib.get_close_matches(field, known, n=1)
    return f"{owner} has no field {field!r}" + (f": {close[0]} is meant?" if close else "")


def _sentence(error: Any, field: str | None, task: str, kind: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        return unknown(str(field), kind.model_fields, task)
    if error["type"] == "missing":
        return f"{field} is missing: {task} needs it"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return message if field is None else f"{field} is {shortened(repr(error['input']))}: {message}"
