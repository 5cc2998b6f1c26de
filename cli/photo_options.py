"""The options that the commands for photographs share, and what they come to before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lib_ebca.studio import foreign, request, settings
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.recipe import Lora, Recipe, Settings, Source

from .options import plan_from_options

if TYPE_CHECKING:
    from lib_ebca.language.plan import Plan
    from lib_ebca.studio.loading import Model
    from lib_ebca.studio.photographs import Fitting, Photo
    from lib_ebca.studio.task import Task

NegativeOption = Annotated[str | None, typer.Option("--negative", "-n", help="What to keep out of the picture.")]
LoraOption = Annotated[
    list[str] | None, typer.Option("--lora", metavar="PATH[:WEIGHT]", help="A LoRA file. Repeatable.")
]
PresetOption = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="Published settings; `ebca presets` lists them.")
]
SamplerOption = Annotated[
    str | None,
    typer.Option(help="By its WebUI name, such as 'Euler a'.  (default: PLMS; SDXL Euler, velocity DDIM)"),
]
SamplingOption = Annotated[
    str | None,
    typer.Option(
        metavar="diffusers|webui",
        help="Whose samplers (the WebUI takes DPM++ 2M), noise and rounding; webui draws as AUTOMATIC1111 does.  "
        "(default: diffusers)",
    ),
]
ScheduleOption = Annotated[
    str | None,
    typer.Option(help="With --sampling webui: its schedule type, such as 'SGM Uniform'.  (default: Automatic)"),
]
NoiseOption = Annotated[
    str | None,
    typer.Option(
        metavar="cpu|nv",
        help="With --sampling webui: whose noise, a CPU's or an NVIDIA GPU's, which is computed.  (default: cpu)",
    ),
]
StepsOption = Annotated[int | None, typer.Option(help="Sampling steps.  (default: 50)")]
CfgOption = Annotated[float | None, typer.Option(help="Guidance scale; 1 turns guidance off.  (default: 7.5)")]
WidthOption = Annotated[int | None, typer.Option(help="Width to work at.  (default: near the photograph's own)")]
HeightOption = Annotated[int | None, typer.Option(help="Height to work at.  (default: near the photograph's own)")]
FitOption = Annotated[
    str | None,
    typer.Option(
        "--fit", metavar="resize|crop", help="Scale the sides to multiples of 8 and back, or cut.  (default: resize)"
    ),
]
SeedOption = Annotated[int | None, typer.Option(help="Of the first picture.  (default: random)")]
CountOption = Annotated[int | None, typer.Option(help="Pictures, with seeds SEED, SEED + 1, ...  (default: 1)")]
ClipSkipOption = Annotated[
    int | None, typer.Option("--clip-skip", help="Layer of the text encoder, 1 being the last.  (default: 1)")
]
DriftOption = Annotated[
    bool | None,
    typer.Option("--drift/--no-drift", help="Let editorial contexts drift over the steps, as the published code."),
]
DtypeOption = Annotated[
    str | None, typer.Option(help="float32, float16 or bfloat16.  (default: float32 on a CPU, else float16)")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda or mps.  (default: the fastest there is)")]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")]
ModelsOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        envvar="EBCA_MODELS",
        help="With --from and a picture of the WebUI: where its model is looked for, by hash and name.  (default: the "
        "embedded models)",
    ),
]
FromOption = Annotated[
    Path | None,
    typer.Option("--from", metavar="PICTURE", help="Make this picture again, from the same photograph."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no paths.")]


def asked_plan(
    task: str,
    preset: str | None,
    bcu: str | None,
    edits: Sequence[str] | None,
    boosts: Sequence[str] | None,
    concepts: Sequence[str] | None = None,
    excites: Sequence[str] | None = None,
) -> tuple[Plan, bool | None]:
    """The plan of a preset and the options on top of it, and whether the preset wants drift (None: it does not say).

    `task` is the command that draws. Raises PresetError, DirectiveError, PlanError, UserError.
    """
    from lib_ebca.language.presets import preset as named

    options = plan_from_options(bcu, edits, boosts, concepts, excites)
    if preset is None:
        return options, None
    found = named(preset, task)
    return found.plan.merged(options), True if found.drift else None


def asked_settings(recorded: Recipe | None, loras: Sequence[str] | None, **given: Any) -> Settings:
    """The recorded settings, or the defaults, with the options given on top. Raises UserError."""
    given["loras"] = tuple(map(Lora.parse, loras)) if loras else None
    start = Settings() if recorded is None else recorded.settings
    return settings.checked(replace(start, **{name: value for name, value in given.items() if value is not None}))


def fitted(
    source: Photo, loaded: Model, asked: Settings, fit: str | None, before: Task | None, given: bool
) -> tuple[str, Fitting]:
    """How the photograph is fitted, by name and in numbers: as recorded, unless a size or a fit is `given` now."""
    from lib_ebca.studio.photographs import Fitting, fitting

    size = source.image.size
    if before is not None and before.box is not None and fit is None and not given and asked.width and asked.height:
        if before.box[2] > size[0] or before.box[3] > size[1]:
            raise UserError(f"the picture's field EBCA box is {before.box}: it lies outside of the photograph")
        return before.fit, Fitting(size, before.box, (asked.width, asked.height))
    name = fit or (before.fit if before else "resize")
    return name, fitting(size, loaded.size, name, (asked.width, asked.height))


def completed(asked: Settings, fitted: Fitting, loaded: Model) -> Settings:
    """`asked` with nothing left open, at the size that is worked at. Raises UserError."""
    width, height = fitted.size
    return settings.completed(replace(asked, width=width, height=height), loaded)


def wanted(prompt: str | None, options: Plan, recorded: Recipe | None) -> request.Wanted:
    """The prompt, or else the recorded one, with the options on top. Raises DirectiveError, PlanError, UserError."""
    return request.wanted([] if prompt is None else [prompt], options, recorded)[0]


def notes(made_with: Source | None, loaded: Model, prompt: str) -> tuple[str, ...]:
    """What will keep a recorded picture from coming out the same, and the tags of a prompt that nothing here reads."""
    differing = () if made_with is None else request.differences(made_with, loaded.source)
    return (*loaded.notes, *differing, *foreign.unread_in_prompt(prompt))


def same_photo(photo: Photo, digest: str | None, path: Path, again: Path) -> None:
    """Raises UserError where the photograph is not the one that a recorded picture was made from."""
    if digest is not None and photo.digest != digest:
        raise UserError(f"{again} was made from another photograph than {path}: its pixels have the hash {digest}")
