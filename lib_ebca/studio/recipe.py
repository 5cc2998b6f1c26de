"""Everything that is needed to make a picture again, and its way into the picture's text and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib_ebca.language.directives import write
from lib_ebca.studio import foreign, hires, infotext, recorded, samplers
from lib_ebca.studio.hires import Hires
from lib_ebca.studio.infotext import Infotext
from lib_ebca.version import __version__

if TYPE_CHECKING:
    from lib_ebca.language.plan import Plan

EMBEDDED_DEFAULT = "primer"
MOST_TOGETHER = 1024  # pictures of one batch
OURS = "EBCA"
SCHEDULE = "Schedule type"
RNG = "RNG"


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
    `vectors` is a file of head relevance vectors, None for those that belong to the model.
    `sampling` is of samplers.SAMPLING: whose samplers, noise and rounding; `schedule`, `noise` (of samplers.NOISES) and
    `hires` are the WebUI's alone.
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
    vectors: str | None = None
    sampling: str = "diffusers"
    schedule: str | None = None
    noise: str = samplers.CPU
    hires: Hires | None = None


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
    """Name and hash of the files a recipe was carried out with.

    `unread` names what a picture's text says besides, and nothing here acts on; `other_hashes` are the model's in other
    forms of the same weights; `noise_assumed` tells that the text does not say where the noise was drawn.
    """

    model: str
    model_hash: str
    lora_hashes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    other_hashes: tuple[str, ...] = ()
    noise_assumed: bool = False


def to_text(recipe: Recipe, source: Source) -> str:
    """The "parameters" text of the picture made by `recipe`, whose settings must be complete (no None left)."""
    settings = recipe.settings
    fields = {
        "Steps": str(settings.steps),
        **_sampler_fields(settings),
        "CFG scale": _number(settings.guidance),
        "Seed": str(recipe.seed),
        "Size": f"{settings.width}x{settings.height}",
        "Model hash": source.model_hash,
        "Model": source.model,
    }
    # Without it the WebUI takes a GPU's, which the pictures drawn here never have.
    fields[RNG] = settings.noise.upper()
    if settings.hires is not None:
        fields |= settings.hires.fields()
    if settings.clip_skip != 1:
        fields["Clip skip"] = str(settings.clip_skip)
    if plan := write(recipe.plan):
        fields[OURS] = plan
    fields[f"{OURS} model"] = settings.model
    fields[f"{OURS} dtype"] = str(settings.dtype)
    fields[f"{OURS} device"] = str(settings.device)
    if recipe.batch != 1:
        fields[f"{OURS} batch"] = f"{recipe.position + 1}/{recipe.batch}"
    if settings.sampling != samplers.DIFFUSERS:
        fields[f"{OURS} sampling"] = settings.sampling
    if settings.drift:
        fields[f"{OURS} drift"] = "True"
    if settings.vectors and recipe.plan.named_concepts:
        fields[f"{OURS} vectors"] = settings.vectors
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
    for name, value in (("prompt", info.prompt), ("negative prompt", info.negative)):
        recorded.text(name, value)
    for name, value in info.fields.items():
        # Pictures that were drawn together hold each other's prompts in a field.
        recorded.text(name, value, infotext.LONGEST)
    width, height = _size(get("Size"))
    position, batch = _place(get(f"{OURS} batch"))
    prompt = recorded.text(f"{OURS} prompt", get(f"{OURS} prompt", info.prompt))
    written_by_us = get("Version", "").startswith(OURS)
    sampling = get(f"{OURS} sampling", samplers.DIFFUSERS if written_by_us else samplers.WEBUI)
    settings = Settings(
        model=get(f"{OURS} model", ""),
        loras=tuple(Lora.parse(value) for value in recorded.numbered(info.fields, f"{OURS} lora")),
        negative=recorded.text(f"{OURS} negative", get(f"{OURS} negative", info.negative)),
        sampling=sampling,
        sampler=_sampler(info.fields, sampling),
        schedule=get(SCHEDULE) if sampling == samplers.WEBUI else None,
        steps=_whole(info.fields, "Steps", Settings.steps),
        guidance=recorded.real("CFG scale", get("CFG scale", repr(Settings.guidance))),
        width=width,
        height=height,
        dtype=get(f"{OURS} dtype"),
        device=get(f"{OURS} device"),
        clip_skip=_whole(info.fields, "Clip skip", Settings.clip_skip),
        drift=get(f"{OURS} drift") == "True",
        vectors=get(f"{OURS} vectors"),
        noise=_noise(get(RNG), written_by_us),
        hires=hires.read(info.fields) if sampling == samplers.WEBUI else None,
    )
    # The WebUI writes the whole plan too, with what stood in the accordion alone; without EBCA there is the prompt's.
    plan = _plan(get(OURS, "")) if written_by_us or OURS in info.fields else parse(prompt).plan
    recipe = Recipe(settings, prompt, plan, _whole(info.fields, "Seed", -1), batch, position)
    hashes = tuple(recorded.numbered(info.fields, f"{OURS} lora hash"))
    source = Source(
        get("Model", ""),
        get("Model hash", ""),
        hashes,
        foreign.unread_fields(info.fields),
        noise_assumed=RNG not in info.fields and not written_by_us and "Seed" in info.fields,
    )
    return recipe, source


def _noise(written: str | None, by_us: bool) -> str:
    """The WebUI leaves the field out where the noise is a GPU's."""
    if written is None:
        return samplers.CPU if by_us else samplers.NV
    if written.lower() not in (*samplers.NOISES, "gpu"):
        raise recorded.refused(RNG, written, "CPU, GPU or NV")
    return samplers.CPU if written.lower() == samplers.CPU else samplers.NV


def _plan(written: str) -> Plan:
    from lib_ebca.language.directives import parse

    parsed = parse(written)
    if parsed.text.strip():
        raise recorded.refused(OURS, written, "directives and nothing else")
    return parsed.plan


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(value)


def _sampler_fields(settings: Settings) -> dict[str, str]:
    name, schedule = str(settings.sampler), settings.schedule
    if schedule is None:
        # Since 1.9 the WebUI names the schedule in a field of its own, and without it takes one of its choice.
        name, schedule = samplers.with_schedule(name)
    return {"Sampler": name} if schedule is None else {"Sampler": name, SCHEDULE: schedule}


def _sampler(fields: Mapping[str, str], sampling: str) -> str | None:
    name = fields.get("Sampler")
    if name is None or sampling == samplers.WEBUI:
        return name
    name = f"{name} Karras" if foreign.karras(fields) else name
    # One that is not known is left as it is: an option may give another, and is checked with the rest.
    return samplers.canonical(name) if samplers.is_known(name) else name


def _size(value: str | None) -> tuple[int | None, int | None]:
    return (None, None) if value is None else recorded.pair("Size", value, "x", "WIDTHxHEIGHT")


def _place(value: str | None) -> tuple[int, int]:
    if value is None:
        return 0, 1
    expected = f"POSITION/SIZE, such as 2/4, of at most {MOST_TOGETHER}"
    position, batch = recorded.pair(f"{OURS} batch", value, "/", expected)
    if not position <= batch <= MOST_TOGETHER:
        raise recorded.refused(f"{OURS} batch", value, expected)
    return position - 1, batch


def _whole(fields: Mapping[str, str], name: str, default: int) -> int:
    return recorded.whole(name, fields[name]) if name in fields else default
