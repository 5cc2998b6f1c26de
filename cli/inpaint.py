"""`ebca inpaint`: the white of a mask, painted anew under a prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib_ebca.studio import loading, painting, pictures, request, task
from lib_ebca.studio import photographs as photo
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.painting import Repainting
from lib_ebca.studio.recipe import Recipe
from lib_ebca.studio.settings import at_least
from lib_ebca.studio.task import Task
from lib_ebca.studio.values import MOST_JUMPS, finite

from . import photo_options, progress
from .img2img import checked_strength
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

JUMPS = (10, 10)


def inpaint(
    photograph: Annotated[Path, typer.Argument(metavar="PICTURE", help="The picture, of any mode and size.")],
    mask: Annotated[Path, typer.Argument(help="A picture of the same size: white is painted anew, black stays.")],
    prompt: Annotated[
        str | None, typer.Argument(help="What to paint; <edit:...>, <bcu:...> and <boost:...> may be in it.")
    ] = None,
    repaint: Annotated[
        bool | None, typer.Option("--repaint/--no-repaint", help="RePaint: a plain model, going back and forth.")
    ] = None,
    jump_length: Annotated[
        int | None, typer.Option("--jump-length", help="repaint: steps of a jump back.  (default: 10)")
    ] = None,
    jump_count: Annotated[
        int | None, typer.Option("--jump-count", help="repaint: times each stretch is walked.  (default: 10)")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="How much is made anew, above 0 and up to 1.  (default: 1)")
    ] = None,
    paste_back: Annotated[
        bool | None,
        typer.Option(
            "--paste-back/--no-paste-back", help="Leave every pixel outside the mask as it is.  (default: on)"
        ),
    ] = None,
    feather: Annotated[
        float | None, typer.Option(help="Pixels inside the mask over which old and new blend.  (default: 0)")
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
    """Paint a part of a picture anew.

    White in the mask is painted, and only there the picture pulls at the words. Models with nine input channels, made
    for inpainting, and plain ones both serve.
    """
    recorded, made_with = (
        (None, None) if again is None else request.recorded_in(again, model, lora, trust_picture, vectors)
    )
    before = None if again is None else task.from_text(request.parameters_in(again), "inpaint")
    plan, preset_drift = photo_options.asked_plan("inpaint", preset, bcu, edit, boost, concept, excite)
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
    jumps = _jumps(repaint, jump_length, jump_count, before)
    if jumps is not None and (strength is not None or sampler is not None):
        raise UserError("--repaint has a sampler of its own and starts from noise: leave out --sampler and --strength")
    if strength is None:
        strength = before.strength if before and before.strength is not None else 1.0
    checked_strength(strength)
    if feather is None:
        feather = before.feather if before else 0.0
    if finite("--feather", feather) < 0:
        raise UserError(f"--feather is {feather:g}: it should not be negative")
    if paste_back is None:
        paste_back = before.paste_back if before and before.paste_back is not None else True
    wanted = photo_options.wanted(prompt, plan, recorded)
    seeds = request.seeds(seed, count, None, recorded)
    source = photo.read(photograph)
    white = photo.read_mask(mask, source)
    if before is not None and again is not None:
        photo_options.same_photo(source, before.photo, photograph, again)
        if before.mask != photo.digest_of(white):
            raise UserError(f"{again} was made with another mask than {mask}")
    folder = pictures.output_folder(dated(out, by_date))

    loaded = loading.load(asked, allow_pickle, inpainting=True)
    fit, fitted = photo_options.fitted(source, loaded, asked, fit, before, given=bool(width or height))
    asked = photo_options.completed(asked, fitted, loaded)
    request.check_words(wanted, loaded.pipe.tokenizer)
    part, kept = fitted.part(white), fitted.part(source.image)
    if photo.brightest(part) < photo.HALF_WHITE:
        raise UserError(f"the mask {mask} is black in the part that --fit crop leaves: use --fit resize")
    if paste_back:
        photo.feathered(part, feather)
    painted = Repainting(fitted.down(white), strength, jumps)
    what = Task(
        "inpaint" if jumps is None else "repaint",
        source.digest,
        fit,
        fitted.cut,
        mask=photo.digest_of(white),
        strength=strength if jumps is None else None,
        jumps=jumps,
        paste_back=paste_back,
        feather=feather,
    )
    for number in seeds:
        made = Recipe(asked, wanted.prompt, wanted.plan, number)
        with progress.bar(f"seed {number}", quiet or as_json) as advance:
            drawn = painting.inpainted(loaded, [made], fitted.down(source.image), painted, advance)
        result = fitted.up(drawn.images[0])
        if paste_back:
            result = photo.pasted(kept, result, part, feather)
        text = task.to_text(made, loaded.source, what)
        path = pictures.save_numbered(source.worn(result), folder, number, text)
        comments = (*photo_options.notes(made_with, loaded, made.prompt), *drawn.comments(0))
        Saved(made, path, drawn.seconds, comments).tell(as_json, quiet, show)


def _jumps(repaint: bool | None, length: int | None, count: int | None, before: Task | None) -> tuple[int, int] | None:
    recorded = before.jumps if before else None
    if repaint is False or (repaint is None and recorded is None):
        if length is not None or count is not None:
            raise UserError("--jump-length and --jump-count belong to --repaint: add it")
        return None
    start = recorded or JUMPS
    return (
        at_least("--jump-length", start[0] if length is None else length, 1),
        at_least("--jump-count", start[1] if count is None else count, 1, MOST_JUMPS),
    )
