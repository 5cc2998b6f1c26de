"""`python -m training`: from nothing to the embedded model, resumable, one stage after the other."""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path
from shutil import copytree
from typing import Annotated

import torch
import typer
from diffusers import AutoencoderKL
from transformers import CLIPTokenizer

from world.book.eye import EYE_FILE, save_eye

from .book import evaluate_book, get_eye, get_scorer
from .book_card import write_book_card
from .card import write_card
from .compvis import export_compvis
from .evaluate import STEPS
from .gradients import WrongGradientsError
from .loop import Budget
from .networks import BOOK, FULL, TINY, TINY_BOOK
from .stages import (
    Recipe,
    Workshop,
    compare_snapshots,
    evaluate_model,
    export,
    get_denoiser,
    get_tokenizer,
    get_vae,
    load_model,
    note_time,
    open_workshop,
    told_from_root,
)
from .start import steps_before

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Stage(str, Enum):
    """Where to stop."""

    vae = "vae"
    denoiser = "denoiser"
    judge = "judge"
    export = "export"
    card = "card"
    scorer = "scorer"


ORDER = list(Stage)


class WorldName(str, Enum):
    """The worlds there are."""

    shapes = "shapes"
    book = "book"
    primer = "primer"


QUICK_STEPS = 12
PRIMER = Path(__file__).parent.parent / "models" / "primer"


def _budget(quick: bool, steps: int | None, minutes: float | None, usual_minutes: float | None, usual: int) -> Budget:
    """What was asked for; else the usual time on a GPU, the usual steps on a CPU."""
    if steps is not None or minutes is not None:
        return Budget(steps=steps, minutes=minutes)
    if quick:
        return Budget(steps=QUICK_STEPS)
    return Budget(minutes=usual_minutes) if usual_minutes is not None else Budget(steps=usual)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="Folder for everything; the model goes to OUT/model.")],
    world: Annotated[WorldName, typer.Option(help="What it is to draw.")] = WorldName.shapes,
    device: Annotated[str, typer.Option(help="cuda or cpu; by default cuda if there is one.")] = "",
    quick: Annotated[bool, typer.Option(help="Tiny networks, a few steps: shows that everything works.")] = False,
    minutes_vae: Annotated[float | None, typer.Option(help="Time for the VAE; 2 on cuda.")] = None,
    minutes_unet: Annotated[float | None, typer.Option(help="Time for UNet and text encoder; 7 on cuda.")] = None,
    steps_vae: Annotated[int | None, typer.Option(help="Instead of a time; on the CPU 4000, book 3000.")] = None,
    steps_unet: Annotated[int | None, typer.Option(help="Instead of a time; on the CPU 3400, book 6000.")] = None,
    batch_vae: Annotated[int | None, typer.Option(min=1, help="Default 256 on cuda, on the CPU 16, book 8.")] = None,
    batch_unet: Annotated[int | None, typer.Option(min=1, help="Default 512 on cuda, 32 on the CPU.")] = None,
    rate_vae: Annotated[float, typer.Option(help="Peak learning rate of the VAE.")] = 1.5e-3,
    rate_unet: Annotated[float | None, typer.Option(help="Default 1.2e-3 on cuda, 1e-3 on the CPU.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of everything; 0, or where a model is begun with, the steps it has had: fresh scenes."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="A model to begin with, in diffusers' layout; for book and primer models/primer."),
    ] = None,
    vae_goes_on: Annotated[
        bool, typer.Option("--vae-goes-on", help="Train the VAE of that model on, instead of taking it as it is.")
    ] = False,
    from_chance: Annotated[bool, typer.Option("--from-chance", help="Begin with no model.")] = False,
    pictures: Annotated[int | None, typer.Option(min=1, help="Per main prompt set when judging; 256.")] = None,
    compile_unet: Annotated[bool, typer.Option("--compile", help="Use torch.compile in training.")] = False,
    checkpoint_seconds: Annotated[float, typer.Option(help="Time between checkpoints.")] = 30.0,
    until: Annotated[Stage, typer.Option(help="Stop after this stage.")] = Stage.scorer,
    only: Annotated[Stage | None, typer.Option(help="vae, denoiser, judge or scorer alone: side by side.")] = None,
) -> None:
    """Make the embedded model. Run the same command again to go on where it stopped."""
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    cuda, book = chosen.type == "cuda", world is not WorldName.shapes
    if cuda and not torch.cuda.is_available():
        typer.echo("--device cuda: there is no CUDA device here; use --device cpu", err=True)
        raise typer.Exit(2)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    if only in (Stage.export, Stage.card) or (only in (Stage.judge, Stage.scorer) and not book):
        typer.echo(f"--only {only.value}: alone are made vae and denoiser, of book also judge and scorer", err=True)
        raise typer.Exit(2)
    if start is None and book and not quick and not from_chance and PRIMER.is_dir():
        start = PRIMER
    if start is not None and (from_chance or not (start / "unet" / "config.json").exists()):
        why = "and --from-chance exclude each other" if from_chance else "is not a model's folder in diffusers' layout"
        typer.echo(f"--start {start}: {why}", err=True)
        raise typer.Exit(2)
    try:
        recipe = Recipe(
            vae=_budget(
                quick, steps_vae, minutes_vae, (8.0 if book else 2.0) if cuda else None, 3000 if book else 4000
            ),
            denoiser=_budget(
                quick, steps_unet, minutes_unet, (30.0 if book else 7.0) if cuda else None, 6000 if book else 3400
            ),
            world=world.value,
            seed=steps_before(start) if seed is None else seed,
            vae_batch=batch_vae or ((64 if book else 256) if cuda and not quick else 8 if book else 16),
            denoiser_batch=batch_unet or (16 if quick else 512 if cuda else 32),
            vae_rate=rate_vae,
            denoiser_rate=(1.2e-3 if cuda else 1e-3) if rate_unet is None else rate_unet,
            sizes=(TINY_BOOK if book else TINY) if quick else BOOK if book else FULL,
            start=None if start is None else told_from_root(start),
            vae_goes_on=vae_goes_on,
        )
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    shop = open_workshop(out, chosen, recipe, compile_unet, checkpoint_seconds)
    # The recipe that was found decides.
    book = shop.recipe.world != WorldName.shapes.value
    number = pictures or (8 if quick else 256)
    batch = 256 if cuda else 32

    def reached(stage: Stage) -> bool:
        return ORDER.index(until) >= ORDER.index(stage)

    tokenizer = get_tokenizer(shop)
    if only is not None and only is not Stage.vae:
        _make_alone(shop, only, quick)
        return
    began = time.perf_counter()
    vae = get_vae(shop)
    note_time(shop, "vae", time.perf_counter() - began)
    if only is Stage.vae or not reached(Stage.denoiser):
        return
    began = time.perf_counter()
    _teach(shop, tokenizer)
    note_time(shop, "denoiser", time.perf_counter() - began)
    if book:
        _finish_book(shop, vae, until, number, batch, quick)
        return
    if not reached(Stage.export):
        return
    began = time.perf_counter()
    comparison = compare_snapshots(shop, vae, tokenizer, -(-number // 4), batch)
    export(shop, vae, tokenizer, comparison["chosen"])
    note_time(shop, "comparison", time.perf_counter() - began)
    if not reached(Stage.card):
        return
    began = time.perf_counter()
    evaluate_model(shop, number, batch)
    note_time(shop, "evaluation", time.perf_counter() - began)
    export_compvis(shop.model, shop.out / "compvis")
    write_card(shop)
    typer.echo(f"done: {shop.model}")


def _teach(shop: Workshop, tokenizer: CLIPTokenizer) -> None:
    """The denoiser's training, if it is not done."""
    try:
        get_denoiser(shop, tokenizer)
    except WrongGradientsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


def _make_alone(shop: Workshop, stage: Stage, quick: bool) -> None:
    """One thing that does not wait for another. Judge and scorer see round trips if the VAE is there, else drawings."""
    tokenizer = get_tokenizer(shop)
    if stage is Stage.denoiser:
        _teach(shop, tokenizer)
        return
    vae = get_vae(shop) if (shop.work / "vae.pt").exists() else None
    if stage is Stage.scorer:
        get_scorer(shop, tokenizer, vae, quick)
    else:
        get_eye(shop, vae, quick)


def _finish_book(shop: Workshop, vae: AutoencoderKL, until: Stage, pictures: int, batch: int, quick: bool) -> None:
    """The book's judge, export, figures and scorer, as far as `until`."""
    tokenizer, last = get_tokenizer(shop), ORDER.index(until)
    if last >= ORDER.index(Stage.judge):
        _make_alone(shop, Stage.judge, quick)
    if last >= ORDER.index(Stage.export):
        export(shop, vae, tokenizer, 100)
        export_compvis(shop.model, shop.out / "compvis", shop.recipe.world)
        save_eye(get_eye(shop, vae, quick), shop.model / "judge" / EYE_FILE)
    if last >= ORDER.index(Stage.card):
        eye = get_eye(shop, vae, quick)
        judged, steps = (pictures, 2) if quick else (400, STEPS)
        evaluate_book(shop, load_model(shop.model, shop.device), eye, pictures, batch, judged, steps)
        write_book_card(shop)
    # It takes long, and nothing of the others waits for it.
    if last >= ORDER.index(Stage.scorer):
        _make_alone(shop, Stage.scorer, quick)
        copytree(shop.out / "scorer", shop.model / "scorer", dirs_exist_ok=True)
    typer.echo(f"done: {shop.model}")
