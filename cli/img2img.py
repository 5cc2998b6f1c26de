"""`ebca img2img`: a picture, noised in part and drawn again under a prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lib_ebca.studio import loading, painting, pictures, request, task
from lib_ebca.studio import photographs as photo
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.recipe import Recipe
from lib_ebca.studio.task import Task
from lib_ebca.studio.values import finite

from . import photo_options, progress
from .options import (
    AllowPickleOption,
    BcuOption,
    BoostOption,
    ByDateOption,
    ConceptOption,
    EditOption,
    ExciteOption,
    JsonOption,
    ModelOption,
    ShowOption,
    TrustOption,
    VectorsOption,
)
from .outputs import Saved, dated
from .photo_options import (
    CfgOption,
    ClipSkipOption,
    CountOption,
    DeviceOption,
    DriftOption,
    DtypeOption,
    FitOption,
    FromOption,
    HeightOption,
    LoraOption,
    NegativeOption,
    NoiseOption,
    OutOption,
    PresetOption,
    QuietOption,
    SamplerOption,
    SamplingOption,
    ScheduleOption,
    SeedOption,
    StepsOption,
    WidthOption,
)

STRENGTH = 0.75


def img2img(
    photograph: Annotated[Path, typer.Argument(metavar="PICTURE", help="The picture, of any mode and size.")],
    prompt: Annotated[
        str | None,
        typer.Argument(help="What to make of it; directives such as <edit:...> may be in it."),
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="How much is made anew, above 0 and up to 1.  (default: 0.75)")
    ] = None,
    negative: NegativeOption = None,
    bcu: BcuOption = None,
    edit: EditOption = None,
    boost: BoostOption = None,
    concept: ConceptOption = None,
    excite: ExciteOption = None,
    vectors: VectorsOption = None,
    preset: PresetOption = None,
    model: ModelOption = None,
    lora: LoraOption = None,
    sampler: SamplerOption = None,
    sampling: SamplingOption = None,
    schedule: ScheduleOption = None,
    noise: NoiseOption = None,
    steps: StepsOption = None,
    cfg: CfgOption = None,
    width: WidthOption = None,
    height: HeightOption = None,
    fit: FitOption = None,
    seed: SeedOption = None,
    count: CountOption = None,
    clip_skip: ClipSkipOption = None,
    drift: DriftOption = None,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    out: OutOption = Path("outputs"),
    again: FromOption = None,
    by_date: ByDateOption = False,
    show: ShowOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    allow_pickle: AllowPickleOption = False,
    trust_picture: TrustOption = False,
) -> None:
    """Draw a picture again under a prompt."""
    recorded, made_with = (
        (None, None) if again is None else request.recorded_in(again, model, lora, trust_picture, vectors)
    )
    before = None if again is None else task.from_text(request.parameters_in(again), "img2img")
    plan, preset_drift = photo_options.asked_plan("img2img", preset, bcu, edit, boost, concept, excite)
    asked = photo_options.asked_settings(
        recorded,
        lora,
        model=model,
        negative=negative,
        sampler=sampler,
        sampling=sampling,
        schedule=schedule,
        noise=noise,
        steps=steps,
        guidance=cfg,
        width=width,
        height=height,
        dtype=dtype,
        device=device,
        clip_skip=clip_skip,
        drift=drift if drift is not None else preset_drift,
        vectors=None if vectors is None else str(vectors),
    )
    if strength is None:
        strength = before.strength if before and before.strength is not None else STRENGTH
    checked_strength(strength)
    wanted = photo_options.wanted(prompt, plan, recorded)
    seeds = request.seeds(seed, count, None, recorded)
    source = photo.read(photograph)
    if before is not None and again is not None:
        photo_options.same_photo(source, before.photo, photograph, again)
    folder = pictures.output_folder(dated(out, by_date))

    loaded = loading.load(asked, allow_pickle)
    fit, fitted = photo_options.fitted(source, loaded, asked, fit, before, given=bool(width or height))
    asked = photo_options.completed(asked, fitted, loaded)
    request.check_words(wanted, loaded.pipe.tokenizer)
    image = fitted.down(source.image)
    what = Task("img2img", source.digest, fit, fitted.cut, strength=strength)
    for number in seeds:
        made = Recipe(asked, wanted.prompt, wanted.plan, number)
        with progress.bar(f"seed {number}", quiet or as_json) as advance:
            drawn = painting.varied(loaded, [made], image, strength, advance)
        result = source.worn(fitted.up(drawn.images[0]))
        path = pictures.save_numbered(result, folder, number, task.to_text(made, loaded.source, what))
        saved = Saved(made, path, drawn.seconds, drawn.comments(0))
        replace(saved, comments=(*photo_options.notes(made_with, loaded, made.prompt), *saved.comments)).tell(
            as_json, quiet, show
        )


def checked_strength(strength: float) -> None:
    """Raises UserError where it is no fraction of a pass."""
    if not 0 < finite("--strength", strength) <= 1:
        raise UserError(f"--strength is {strength:g}: it should be above 0 and at most 1")
