"""Everything that is needed to make a picture again, and its way into the picture's text and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib_ebca.language.directives import write
from lib_ebca.studio import infotext, samplers
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.infotext import Infotext
from lib_ebca.version import __version__

if TYPE_CHECKING:
    from lib_ebca.language.plan import Plan

EMBEDDED_DEFAULT = "shapes"
OURS = "EBCA"


@dataclass(frozen=True)
class Lora:
    """A LoRA file and how strongly it acts (1 is as trained)."""

    path: str
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Lora:
        """Reads PATH or PATH:WEIGHT. Raises UserError."""
        from lib_ebca.studio.values import finite

        path, colon, weight = text.rpartition(":")
        try:
            number = float(weight)
        except ValueError:
            return cls(text)
        if not colon or not path:
            return cls(text)
        return cls(path, finite(f"--lora {text}", number))

    def __str__(self) -> str:
        return f"{self.path}:{self.weight!r}"


@dataclass(frozen=True)
class Settings:
    """What pictures of one run have in common. None stands for the model's own choice until it is loaded.

    `clip_skip` counts as the WebUI does: 1 is the text encoder's last layer. `device` is a torch device type.
    """

    model: str = EMBEDDED_DEFAULT
    loras: tuple[Lora, ...] = ()
    negative: str = ""
    sampler: str | None = None
    steps: int = 50
    guidance: float = 7.5
    width: int | None = None
    height: int | None = None
    dtype: str | None = None
    device: str | None = None
    clip_skip: int = 1
    drift: bool = False


@dataclass(frozen=True)
class Recipe:
    """One picture: `prompt` as it was written, directives and all, and the plan that was carried out.

    `batch` is the number of pictures drawn together and `position` (from 0) this one's place among them: the last bits
    of a matrix product depend on its size, so the same bits come from the same place in a batch of the same size.
    """

    settings: Settings
    prompt: str
    plan: Plan
    seed: int
    batch: int = 1
    position: int = 0


@dataclass(frozen=True)
class Source:
    """Name and hash of the files a recipe was carried out with."""

    model: str
    model_hash: str
    lora_hashes: tuple[str, ...] = ()


def to_text(recipe: Recipe, source: Source) -> str:
    """The "parameters" text of the picture made by `recipe`, whose settings must be complete (no None left)."""
    settings = recipe.settings
    fields = {
        "Steps": str(settings.steps),
        "Sampler": str(settings.sampler),
        "CFG scale": _number(settings.guidance),
        "Seed": str(recipe.seed),
        "Size": f"{settings.width}x{settings.height}",
        "Model hash": source.model_hash,
        "Model": source.model,
    }
    if settings.clip_skip != 1:
        fields["Clip skip"] = str(settings.clip_skip)
    if plan := write(recipe.plan):
        fields[OURS] = plan
    fields[f"{OURS} model"] = settings.model
    fields[f"{OURS} dtype"] = str(settings.dtype)
    fields[f"{OURS} device"] = str(settings.device)
    if recipe.batch != 1:
        fields[f"{OURS} batch"] = f"{recipe.position + 1}/{recipe.batch}"
    if settings.drift:
        fields[f"{OURS} drift"] = "True"
    for i, (lora, digest) in enumerate(zip(settings.loras, source.lora_hashes, strict=True), start=1):
        fields[f"{OURS} lora {i}"] = str(lora)
        fields[f"{OURS} lora hash {i}"] = digest
    fields["Version"] = f"{OURS} {__version__}"

    info = Infotext(recipe.prompt, settings.negative, fields)
    back = infotext.read(infotext.write(info))
    # The WebUI's form drops white space at line ends; what it would change is written out once more.
    exact = {}
    if back.prompt != recipe.prompt:
        exact[f"{OURS} prompt"] = recipe.prompt
    if back.negative != settings.negative:
        exact[f"{OURS} negative"] = settings.negative
    return infotext.write(Infotext(recipe.prompt, settings.negative, {**fields, **exact}))


def from_text(text: str) -> tuple[Recipe, Source]:
    """The recipe in a "parameters" text, also in one that the WebUI wrote: with our defaults where it is silent, and an
    empty `settings.model`, since a name and a hash do not say where a model lies.

    Raises UserError where a field cannot be read.
    """
    from lib_ebca.language.directives import parse

    info = infotext.read(text)
    get = info.fields.get
    width, height = _size(get("Size"))
    position, batch = _place(get(f"{OURS} batch"))
    prompt = get(f"{OURS} prompt", info.prompt)
    settings = Settings(
        model=get(f"{OURS} model", ""),
        loras=tuple(Lora.parse(value) for value in _listed(info.fields, f"{OURS} lora")),
        negative=get(f"{OURS} negative", info.negative),
        sampler=_sampler(info.fields),
        steps=_whole("Steps", get("Steps"), Settings.steps),
        guidance=_real("CFG scale", get("CFG scale"), Settings.guidance),
        width=width,
        height=height,
        dtype=get(f"{OURS} dtype"),
        device=get(f"{OURS} device"),
        clip_skip=_whole("Clip skip", get("Clip skip"), Settings.clip_skip),
        drift=get(f"{OURS} drift") == "True",
    )
    written_by_us = get("Version", "").startswith(OURS)
    plan = parse(get(OURS, "") if written_by_us else prompt).plan
    recipe = Recipe(settings, prompt, plan, _whole("Seed", get("Seed"), -1), batch, position)
    return recipe, Source(get("Model", ""), get("Model hash", ""), tuple(_listed(info.fields, f"{OURS} lora hash")))


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(value)


def _listed(fields: Mapping[str, str], name: str) -> list[str]:
    numbered = ((key[len(name) :].strip(), value) for key, value in fields.items() if key.startswith(name))
    return [value for number, value in sorted((int(n), v) for n, v in numbered if n.isdigit())]


def _sampler(fields: Mapping[str, str]) -> str | None:
    name = fields.get("Sampler")
    if name is None:
        return None
    # Since 1.9 the WebUI names the noise schedule in a field of its own.
    if fields.get("Schedule type") == "Karras":
        name = f"{name} Karras"
    return samplers.canonical(name)


def _size(value: str | None) -> tuple[int | None, int | None]:
    if value is None:
        return None, None
    width, _, height = value.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UserError(f"the picture's field Size is {value!r}: it should be WIDTHxHEIGHT")
    return int(width), int(height)


def _place(value: str | None) -> tuple[int, int]:
    if value is None:
        return 0, 1
    position, _, batch = value.partition("/")
    if not (position.isdigit() and batch.isdigit() and 1 <= int(position) <= int(batch)):
        raise UserError(f"the picture's field {OURS} batch is {value!r}: it should be POSITION/SIZE, such as 2/4")
    return int(position) - 1, int(batch)


def _whole(name: str, value: str | None, default: int) -> int:
    try:
        return default if value is None else int(value)
    except ValueError:
        raise UserError(f"the picture's field {name} is {value!r}: it should be a whole number") from None


def _real(name: str, value: str | None, default: float) -> float:
    try:
        return default if value is None else float(value)
    except ValueError:
        raise UserError(f"the picture's field {name} is {value!r}: it should be a number") from None
