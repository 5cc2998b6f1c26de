"""`ebca txt2img`: prompts to pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lib_ebca.studio import foreign, loading, request, settings, task
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.generate import draw
from lib_ebca.studio.pictures import output_folder
from lib_ebca.studio.recipe import Lora, Settings

from . import outputs, progress
from .hires_options import HiresOption, HiresStepsOption, HiresStrengthOption, UpscalerOption, asked_hires
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
    PromptsOption,
    ShowOption,
    TrustOption,
    VectorsOption,
)
from .photo_options import ModelsOption, NoiseOption, PresetOption, SamplingOption, ScheduleOption, asked_plan

if TYPE_CHECKING:
    from lib_ebca.studio.generate import Drawn
    from lib_ebca.studio.loading import Model
    from lib_ebca.studio.request import Batch

    from .outputs import Saved


@dataclass(frozen=True)
class Extras:
    """What is wanted besides the pictures."""

    maps: bool = False
    energy: bool = False
    compare: bool = False


def txt2img(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROMPT", help="What to draw; directives such as <edit:...> may be in it."),
    ] = None,
    prompts_file: PromptsOption = None,
    negative: Annotated[str | None, typer.Option("--negative", "-n", help="What to keep out of the picture.")] = None,
    bcu: BcuOption = None,
    edit: EditOption = None,
    boost: BoostOption = None,
    concept: ConceptOption = None,
    excite: ExciteOption = None,
    vectors: VectorsOption = None,
    preset: PresetOption = None,
    model: ModelOption = None,
    lora: Annotated[
        list[str] | None, typer.Option("--lora", metavar="PATH[:WEIGHT]", help="A LoRA file. Repeatable.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="By its WebUI name, such as 'Euler a'.  (default: PLMS; SDXL Euler, velocity DDIM)"),
    ] = None,
    sampling: SamplingOption = None,
    schedule: ScheduleOption = None,
    noise: NoiseOption = None,
    hires: HiresOption = None,
    hires_upscaler: UpscalerOption = None,
    hires_steps: HiresStepsOption = None,
    hires_strength: HiresStrengthOption = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.  (default: 50)")] = None,
    cfg: Annotated[float | None, typer.Option(help="Guidance scale; 1 turns guidance off.  (default: 7.5)")] = None,
    width: Annotated[int | None, typer.Option(help="In pixels.  (default: the model's own)")] = None,
    height: Annotated[int | None, typer.Option(help="In pixels.  (default: the model's own)")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the first picture.  (default: random)")] = None,
    count: Annotated[
        int | None, typer.Option(help="Pictures per prompt, with seeds SEED, SEED + 1, ...  (default: 1)")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Pictures of a prompt drawn together.  (default: 1)")
    ] = None,
    clip_skip: Annotated[
        int | None, typer.Option("--clip-skip", help="Layer of the text encoder, 1 being the last.  (default: 1)")
    ] = None,
    drift: Annotated[
        bool | None,
        typer.Option("--drift/--no-drift", help="Let editorial contexts drift over the steps, as the published code."),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, float16 or bfloat16.  (default: float32 on a CPU, else float16)")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.  (default: the fastest there is)")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")] = Path("outputs"),
    save_maps: Annotated[
        bool, typer.Option("--save-maps", help="Also a picture per word: the heat of its attention.")
    ] = False,
    save_energy: Annotated[
        bool, typer.Option("--save-energy", help="Also a plot of the energies over the steps, layer by layer.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also each picture without BCU, and its energies in the plot.")
    ] = False,
    again: Annotated[
        Path | None, typer.Option("--from", metavar="PICTURE", help="Make this picture again; options given here win.")
    ] = None,
    by_date: ByDateOption = False,
    show: ShowOption = False,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no paths.")] = False,
    allow_pickle: AllowPickleOption = False,
    trust_picture: TrustOption = False,
    models: ModelsOption = None,
) -> None:
    """Draw pictures from prompts.

    --bcu, --edit and --boost mean what the directives in the prompt mean, and may be mixed with them: 'a cat' --edit
    dog:0.75:from=0.5 is 'a cat <edit:dog:0.75:from=0.5>'.
    """
    plan, preset_drift = asked_plan("txt2img", preset, bcu, edit, boost, concept, excite)
    given: dict[str, Any] = {
        "model": model,
        "loras": tuple(map(Lora.parse, lora)) if lora else None,
        "negative": negative,
        "sampler": sampler,
        "sampling": sampling,
        "schedule": schedule,
        "noise": noise,
        "steps": steps,
        "guidance": cfg,
        "width": width,
        "height": height,
        "dtype": dtype,
        "device": device,
        "clip_skip": clip_skip,
        "drift": drift if drift is not None else preset_drift,
        "vectors": None if vectors is None else str(vectors),
    }
    recorded, made_with = (
        (None, None) if again is None else request.recorded_in(again, model, lora, trust_picture, vectors, models or ())
    )
    if again is not None and not prompts and not prompts_file:
        task.refuse_other(request.parameters_in(again), "txt2img")
    asked = Settings() if recorded is None else recorded.settings
    given["hires"] = asked_hires(asked.hires, hires, hires_upscaler, hires_steps, hires_strength)
    asked = settings.checked(replace(asked, **{name: value for name, value in given.items() if value is not None}))
    prompts = [*(prompts or ()), *(request.prompts_in(prompts_file) if prompts_file else ())]
    wanted = request.wanted(prompts, plan, recorded)
    if compare and any(each.plan.update is None for each in wanted):
        raise UserError("--compare draws each picture without BCU as well, and here is none to leave out: add --bcu")
    seeds = request.seeds(seed, count, batch_size, recorded)
    folder = output_folder(outputs.dated(out, by_date))

    loaded = loading.load(asked, allow_pickle)
    asked = settings.completed(asked, loaded)
    for each in wanted:
        request.check_words(each, loaded.pipe.tokenizer)
    if recorded is not None and not prompts and seed is count is batch_size is None:
        batches = [request.repeated(replace(recorded, settings=asked, plan=wanted[0].plan, seed=seeds[0]))]
    else:
        batches = [batch for each in wanted for batch in request.batches(each, asked, seeds, batch_size or 1)]
    notes = (*loaded.notes, *(() if made_with is None else request.differences(made_with, loaded.source)))
    extras = Extras(save_maps, save_energy, compare)
    for batch in batches:
        for saved in _draw_and_save(loaded, batch, folder, extras, quiet or as_json):
            replace(saved, comments=(*notes, *foreign.unread_in_prompt(saved.recipe.prompt), *saved.comments)).tell(
                as_json, quiet, show
            )


def _draw_and_save(loaded: Model, batch: Batch, folder: Path, extras: Extras, quiet: bool) -> list[Saved]:
    """One batch, its pictures written as soon as they are there; with `extras.compare` followed by its twins."""
    drawn, saved = _draw(loaded, batch, folder, extras, quiet)
    plan = batch.recipes[0].plan
    runs = {"with BCU" if plan.update is not None and plan.update.active else "without BCU": drawn}
    twins: list[Saved] = []
    if extras.compare:
        runs["without BCU"], twins = _draw(loaded, request.without_update(batch), folder, extras, quiet)
    if extras.energy:
        saved = [replace(each, energy=outputs.save_energies(runs, each.recipe, each.path)) for each in saved]
    return [*saved, *twins]


def _draw(loaded: Model, batch: Batch, folder: Path, extras: Extras, quiet: bool) -> tuple[Drawn, list[Saved]]:
    with progress.bar(f"seed {batch.recipes[batch.kept[0]].seed}", quiet) as advance:
        drawn = draw(loaded, batch.recipes, advance, record_energies=extras.energy, record_maps=extras.maps)
    saved = []
    for recipe in (batch.recipes[place] for place in batch.kept):
        path = outputs.save_picture(drawn, recipe, loaded.source, folder)
        maps = outputs.save_maps(drawn, recipe, path, loaded.pipe.tokenizer) if extras.maps else ()
        if extras.energy:
            outputs.save_scores(drawn, recipe, path)
        seconds = drawn.seconds / len(batch.recipes)
        saved.append(outputs.Saved(recipe, path, seconds, drawn.comments(recipe.position), maps))
    return drawn, saved
