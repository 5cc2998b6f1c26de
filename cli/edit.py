"""`ebca edit`: a photograph, inverted under its caption and sampled again with edits."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lib_ebca.studio import caption as captions
from lib_ebca.studio import loading, painting, pictures, request, task
from lib_ebca.studio import photographs as photo
from lib_ebca.studio.becoming import Becoming
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.latent_cache import LIMIT, LatentCache, default_folder, key_of
from lib_ebca.studio.recipe import Recipe, Source
from lib_ebca.studio.settings import at_least
from lib_ebca.studio.task import INVERSIONS, Inverting, Task
from lib_ebca.studio.values import finite, readable

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
from .p2p import CROSS, SELF, CrossOption, SelfOption, asked_follow
from .photo_options import (
    CfgOption,
    ClipSkipOption,
    DeviceOption,
    DriftOption,
    DtypeOption,
    FitOption,
    FromOption,
    HeightOption,
    LoraOption,
    OutOption,
    PresetOption,
    QuietOption,
    StepsOption,
    WidthOption,
)
from .terminal import say, say_json

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lib_ebca.studio.loading import Model

# Part of every key of the cache: raised when the same settings begin to give other latents.
_INVERSION_VERSION = 1


@dataclass(frozen=True)
class Reconstruction:
    """How well the photograph comes back, in dB: through the inversion, and through the VAE alone."""

    psnr: float
    vae_psnr: float


def edit(
    photograph: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photograph, of any mode and size.")],
    caption: Annotated[
        str | None, typer.Option("--caption", "-c", help="What is in it.  (default: asked of BLIP, if that is at hand)")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="PROMPT", help="What is to be in it, in place of the caption.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="With --to: keep the photograph's layout (Prompt-to-Prompt).")
    ] = False,
    cross: CrossOption = CROSS,
    self_: SelfOption = SELF,
    edit: EditOption = None,
    bcu: BcuOption = None,
    boost: BoostOption = None,
    concept: ConceptOption = None,
    excite: ExciteOption = None,
    vectors: VectorsOption = None,
    preset: PresetOption = None,
    negative: Annotated[
        str | None, typer.Option("--negative", "-n", help="What to keep out.  (default: the caption, so that it stays)")
    ] = None,
    reconstruct: Annotated[
        bool, typer.Option("--reconstruct", help="No edits: give the photograph back, and say how well.")
    ] = False,
    inversion: Annotated[
        str | None, typer.Option(metavar="fixed-point|published", help="How to invert.  (default: fixed-point)")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(help="fixed-point: most evaluations for a step.  (default: 10)")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="fixed-point: change at which a step is solved.  (default: 1e-4)")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="published: rounds of regularisation a step.  (default: 5)")
    ] = None,
    auto_correlation: Annotated[
        float | None, typer.Option("--auto-correlation", help="published: its weight.  (default: 20)")
    ] = None,
    kl: Annotated[float | None, typer.Option(help="published: weight of the divergence.  (default: 20)")] = None,
    seed: Annotated[int | None, typer.Option(help="published: of the random shifts.  (default: 0)")] = None,
    model: ModelOption = None,
    lora: LoraOption = None,
    steps: StepsOption = None,
    cfg: CfgOption = None,
    width: WidthOption = None,
    height: HeightOption = None,
    fit: FitOption = None,
    clip_skip: ClipSkipOption = None,
    drift: DriftOption = None,
    dtype: DtypeOption = None,
    device: DeviceOption = None,
    out: OutOption = Path("outputs"),
    again: FromOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor keep inversions on disk.")] = False,
    cache_size: Annotated[float, typer.Option("--cache-size", help="Megabytes of inversions to keep.")] = LIMIT,
    by_date: ByDateOption = False,
    show: ShowOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    allow_pickle: AllowPickleOption = False,
    trust_picture: TrustOption = False,
) -> None:
    """Change what is in a photograph and keep the rest.

    The photograph is inverted under its caption, and sampled again with the edits. Inversions are kept on disk, so that
    another edit of the same photograph costs only its sampling.
    """
    from lib_ebca.language.directives import parse

    recorded, made_with, before = (
        (None, None, None) if again is None else _recorded(again, model, lora, trust_picture, vectors)
    )
    plan, preset_drift = photo_options.asked_plan("edit", preset, bcu, edit, boost, concept, excite)
    asked = photo_options.asked_settings(
        recorded,
        lora,
        model=model,
        steps=steps,
        guidance=cfg,
        width=width,
        height=height,
        dtype=dtype,
        device=device,
        clip_skip=clip_skip,
        drift=drift if drift is not None else preset_drift,
        vectors=None if vectors is None else str(vectors),
        negative=negative,
        sampler="DDIM",
    )
    if asked.steps < 2:
        raise UserError(f"--steps is {asked.steps}: an inversion needs at least 2")
    given = {
        "method": inversion,
        "iterations": iterations,
        "tolerance": tolerance,
        "rounds": rounds,
        "auto_correlation": auto_correlation,
        "kl": kl,
    }
    how = _inverting(before.inverting if before and before.inverting else Inverting(), given)
    at_least("--cache-size", math.ceil(finite("--cache-size", cache_size)), 0, 10**9)
    cache = None if no_cache else LatentCache(default_folder(), cache_size)
    source = photo.read(photograph)
    if before is not None and again is not None:
        photo_options.same_photo(source, before.photo, photograph, again)
    if caption is not None and not caption.strip():
        caption = None
    if caption is None and recorded is None:
        caption = captions.caption_of(source.image)
    wanted = photo_options.wanted(caption, plan, recorded)
    becoming = _becoming(to, follow, cross, self_, before)
    if reconstruct and (becoming is not None or plan.active or (caption is not None and wanted.plan.active)):
        raise UserError(
            "--reconstruct gives the photograph back as it is: leave out --to, --edit, --bcu, --boost and --preset"
        )
    if not reconstruct and becoming is None and not wanted.plan.active:
        raise UserError("there is nothing to change: add --edit, such as --edit dog:0.75:from=0.5, or --reconstruct")
    if reconstruct:
        from lib_ebca.language.plan import Plan

        wanted = replace(wanted, plan=Plan())
    folder = pictures.output_folder(dated(out, by_date))
    number = seed if seed is not None else (recorded.seed if recorded else 0)
    request.seeds(number, None, None, None)

    loaded = loading.load(asked, allow_pickle)
    fit, fitted = photo_options.fitted(source, loaded, asked, fit, before, given=bool(width or height))
    asked = photo_options.completed(asked, fitted, loaded)
    text = parse(wanted.prompt).text
    if negative is None and (recorded is None or recorded.settings.negative == parse(recorded.prompt).text):
        asked = replace(asked, negative=text)
    if becoming is None:
        request.check_words(wanted, loaded.pipe.tokenizer)
    made = Recipe(asked, wanted.prompt, wanted.plan, number)
    image = fitted.down(source.image)
    latents, unkept = _latents(loaded, image, text, made, how, cache, quiet or as_json)
    with progress.bar("editing", quiet or as_json) as advance:
        drawn = painting.edited(loaded, _sampled(made, becoming), latents, advance)
    found = _reconstruction(loaded, image, drawn.images[-1]) if reconstruct else None
    what = Task("edit", source.digest, fit, fitted.cut, inverting=how, becoming=becoming)
    result = source.worn(fitted.up(drawn.images[-1]))
    path = pictures.save_numbered(result, folder, number, task.to_text(made, loaded.source, what))
    comments = (*photo_options.notes(made_with, loaded, made.prompt), *unkept, *drawn.comments(len(drawn.images) - 1))
    _tell(Saved(made, path, drawn.seconds, comments), found, as_json, quiet, show)


def _recorded(
    again: Path, model: str | None, lora: object, trusted: bool, vectors: object
) -> tuple[Recipe, Source, Task]:
    recorded, made_with = request.recorded_in(again, model, lora, trusted, vectors)
    return recorded, made_with, task.from_text(request.parameters_in(again), "edit")


def _becoming(to: str | None, follow: bool, cross: str, self_: str, before: Task | None) -> Becoming | None:
    """What the photograph is to become, from the options or as recorded. Raises UserError, PlanError."""
    if not follow and (cross, self_) != (CROSS, SELF):
        raise UserError("--cross and --self say how far the layout is kept: add --follow")
    if to is None and not follow:
        return None if before is None else before.becoming
    if to is None:
        raise UserError("--follow keeps the layout under another prompt: say which with --to PROMPT")
    if not to.strip():
        raise UserError("--to is empty: it should be the prompt of what is to be in the photograph")
    return Becoming(readable("--to", to), asked_follow(cross, self_) if follow else None)


def _sampled(made: Recipe, becoming: Becoming | None) -> list[Recipe]:
    """What is sampled from the inverted photograph; the last is wanted, and may follow the first."""
    from lib_ebca.language.directives import parse
    from lib_ebca.language.plan import Plan

    if becoming is None:
        return [made]
    plan = parse(becoming.prompt).plan.merged(made.plan).merged(Plan(follow=becoming.follow))
    wanted = replace(made, prompt=becoming.prompt, plan=plan)
    return [wanted] if becoming.follow is None else [replace(made, plan=Plan()), wanted]


def _inverting(start: Inverting, given: dict[str, Any]) -> Inverting:
    how = replace(start, **{name: value for name, value in given.items() if value is not None})
    if how.method not in INVERSIONS:
        raise UserError(f"--inversion is {how.method!r}: it should be one of {', '.join(INVERSIONS)}")
    at_least("--iterations", how.iterations, 1)
    at_least("--rounds", how.rounds, 0)
    for name in ("tolerance", "auto_correlation", "kl"):
        option = "--" + name.replace("_", "-")
        if finite(option, getattr(how, name)) < 0:
            raise UserError(f"{option} is {getattr(how, name):g}: it should not be negative")
    return how


def _latents(
    loaded: Model, image: Image, caption: str, made: Recipe, how: Inverting, cache: LatentCache | None, quiet: bool
) -> tuple[Tensor, tuple[str, ...]]:
    """The photograph's noise, kept from an earlier run or found now, and why it could not be kept, if so."""
    settings = made.settings
    facts = {
        "version": _INVERSION_VERSION,
        "picture": photo.digest_of(image),
        "caption": caption,
        "model": [settings.model, loaded.source.model_hash],
        "loras": [
            [digest, lora.weight] for digest, lora in zip(loaded.source.lora_hashes, settings.loras, strict=True)
        ],
        "steps": settings.steps,
        "clip_skip": settings.clip_skip,
        "dtype": settings.dtype,
        "device": settings.device,
        "method": how.method,
        "numbers": how.numbers,
        "seed": made.seed if how.method == "published" else None,
    }
    key = key_of(facts)
    kept = None if cache is None else cache.get(key)
    if kept is not None:
        return kept, ()
    with progress.bar("inverting", quiet) as advance:
        latents = painting.inverted(loaded, image, caption, made, how, advance)
    try:
        if cache is not None:
            cache.put(key, latents)
    except UserError as error:
        # A full disk is no reason to throw away minutes of work.
        return latents, (f"{str(error)[0].upper()}{str(error)[1:]}.",)
    return latents, ()


def _reconstruction(loaded: Model, image: Image, result: Image) -> Reconstruction:
    from lib_ebca.hosts.inversion import latents_of, pictures_of

    through = pictures_of(loaded.pipe, latents_of(loaded.pipe, painting.tensor_of(image)))
    vae = painting.image_of(through)
    return Reconstruction(photo.psnr(image, result), photo.psnr(image, vae))


def _tell(saved: Saved, found: Reconstruction | None, as_json: bool, quiet: bool, show: bool) -> None:
    if found is None:
        saved.tell(as_json, quiet, show)
        return
    if as_json:
        line = {**saved.to_dict(), "psnr": _finite(found.psnr), "vae_psnr": _finite(found.vae_psnr)}
        say_json(line)
        return
    saved.tell(as_json, quiet, show)
    say(f"PSNR {found.psnr:.2f} dB; the VAE alone gives {found.vae_psnr:.2f} dB")


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
