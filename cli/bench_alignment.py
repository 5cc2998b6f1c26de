"""`ebca bench alignment`: whether pictures say what their prompts say, with and without the method."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lib_ebca.studio import loading
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import MODELS, embedded
from lib_ebca.studio.recipe import EMBEDDED_DEFAULT, Settings
from lib_ebca.studio.settings import at_least, checked, completed
from lib_ebca.studio.values import part_of

from . import progress
from .errors import sentences
from .options import AllowPickleOption, ModelOption
from .terminal import say

if TYPE_CHECKING:
    from benchmarks.alignment.bench import Question
    from benchmarks.alignment.protocols import Protocol
    from benchmarks.alignment.scoring import Scorer
    from benchmarks.alignment.tables import Table

QUICK = {"steps": 15, "prompts": 24}
EMBEDDED_PROMPTS = 256
DEFAULT_METHODS = ("plain", "bcu", "boosts")
SCORERS = ("judge", "clip", "blip")


def alignment(
    quick: Annotated[
        bool, typer.Option("--quick", help="Few pictures and few steps: minutes on a CPU, with wide intervals.")
    ] = False,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME",
            help="one, two, coloured, held-out, three (the model shapes); animal-animal, animal-object, object-object "
            "(the 276 prompts of Attend-and-Excite); hrv-animals, hrv-coloured-animals (the 216 of Head Relevance "
            "Vectors). Repeatable.  [default: the model's kind]",
            show_default=False,
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A comparison of the literature, its sets and methods and at least 500 pictures a set: "
            "attend-and-excite, hrv-multi.",
        ),
    ] = None,
    prompts: Annotated[
        list[Path] | None,
        typer.Option("--prompts", metavar="FILE", help="Prompts of your own, one a line, or JSON. Repeatable."),
    ] = None,
    half: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="tuning or reporting: one half of each set's prompts; they share none."),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="plain, bcu, bcu-gentle, boosts, edits, excite, excite-bcu, excite-boosts, or directives such as "
            "'<bcu:0.02:0.04>'.  [default: plain,bcu,boosts, or the protocol's]",
            show_default=False,
        ),
    ] = None,
    scorers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="judge, clip, blip.  [default: judge or clip, as fits]", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            help="Pictures of each prompt; published tables have 64.  [default: 1, or the protocol's number]",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Prompts of each set.  [default: all, of the embedded model's 256]", show_default=False),
    ] = None,
    model: ModelOption = None,
    clip: Annotated[str | None, typer.Option(metavar="ID", help="CLIP: hub id or folder.")] = None,
    blip: Annotated[str | None, typer.Option(metavar="ID", help="BLIP: hub id or folder.")] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.  [default: 25]", show_default=False)] = None,
    cfg: Annotated[float, typer.Option(help="Guidance scale.")] = 7.5,
    sampler: Annotated[str, typer.Option(help="By its WebUI name.")] = "DDIM",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures drawn together.")] = 8,
    shard: Annotated[
        str, typer.Option(metavar="PART/PARTS", help="Only this part of the work; the parts share --out.")
    ] = "1/1",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda or mps.  [default: the fastest]", show_default=False)
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; run again to go on.")] = Path(
        "outputs/alignment"
    ),
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Methods x prompts x seeds, paired by seed, with intervals, costs and contact sheets of wins and losses."""
    with sentences():
        name = model or EMBEDDED_DEFAULT
        own = name in embedded() or model is None
        eye = _eye(name)
        number_of_steps = steps or (QUICK["steps"] if quick else 25)
        settings = checked(
            Settings(model=name, steps=number_of_steps, guidance=cfg, sampler=sampler, device=device, dtype=dtype)
        )
        at_least("--batch-size", batch_size, 1)
        number = limit or (QUICK["prompts"] if quick else EMBEDDED_PROMPTS if own else None)
        try:
            question = _question(own, eye, _protocol(protocol), sets, prompts, methods, seeds, number, half)
            question.items()  # what is wrong with a file is told before a model is loaded
            names = _checked_scorers(_names(scorers), question, eye)
            _run(settings, question, (names, clip, blip), batch_size, part_of("--shard", shard), out, allow_pickle)
        except ValueError as error:
            # The benchmark's errors are sentences; only theirs may lose the traceback.
            if not type(error).__module__.startswith("benchmarks."):
                raise
            raise UserError(str(error)) from None


def _run(
    settings: Settings,
    question: Question,
    scored: tuple[list[str], str | None, str | None],
    batch: int,
    shard: tuple[int, int],
    out: Path,
    allow_pickle: bool,
) -> None:
    from benchmarks.alignment.bench import bench, sheets, tables
    from benchmarks.alignment.drawing import Drawing, Sampling
    from lib_ebca.studio import Studio

    loaded = loading.load(settings, allow_pickle)
    settings = completed(settings, loaded)
    scorers = _scorers(*scored, str(settings.device), _judge_of(question, settings.model, str(settings.device)))
    drawing = Drawing(Studio(loaded), Sampling(settings.steps, settings.guidance, batch), settings.sampler)
    described = {
        "model": loaded.source.model,
        "model hash": loaded.source.model_hash,
        "sampler": settings.sampler,
        "dtype": settings.dtype,
        "device": settings.device,
        "metrics": [metric.name for scorer in scorers for metric in scorer.metrics],
    }
    for sentence in question.partial():
        say(sentence)
    with progress.bar("batches") as advance:
        found = bench(drawing, scorers, question, out, described, shard, advance)
    show([*tables(found, scorers, question), *(judged(settings.model) if "judge" in scored[0] else [])])
    if found.done < found.wanted:
        say(f"{found.done} of {found.wanted} batches are done; the other shards add theirs to {out}.")
    written = [path.name for path in sheets(drawing, scorers, question, out)]
    say(f"In {out}: summary.json" + "".join(f", {name}" for name in written))


def _protocol(name: str | None) -> Protocol | None:
    from benchmarks.alignment.protocols import PROTOCOLS

    if name is not None and name not in PROTOCOLS:
        raise UserError(f"--protocol {name!r} is not known: choose from {', '.join(PROTOCOLS)}")
    return None if name is None else PROTOCOLS[name]


def _question(
    own: bool,
    eye: Path | None,
    protocol: Protocol | None,
    sets: list[str] | None,
    files: list[Path] | None,
    methods: str | None,
    seeds: int | None,
    prompts: int | None,
    half: str | None,
) -> Question:
    from benchmarks.alignment import attend_and_excite
    from benchmarks.alignment.bench import Question
    from benchmarks.alignment.prompts import SHAPES_SETS
    from benchmarks.alignment.protocols import PUBLISHED_SETS

    if protocol is not None and (sets or files):
        raise UserError("--protocol brings its own prompts: leave --set and --prompts out")
    names = tuple(sets or () if protocol is None else protocol.sets)
    if not names and not files:
        names = tuple(SHAPES_SETS) if own and eye is None else attend_and_excite.SETS
    usual = DEFAULT_METHODS if protocol is None else protocol.methods
    return Question(
        names,
        tuple(files or ()),
        prompts,
        1 if seeds is None else seeds,
        tuple(_names(methods)) or usual,
        half,
        None if protocol is None or seeds is not None else protocol.pictures,
        judged=eye is not None and not files and set(names) <= set(PUBLISHED_SETS),
    )


def _eye(model: str) -> Path | None:
    """The eye that was made with a model of the book world."""
    from benchmarks.alignment.eye_judge import eye_of

    return eye_of(folder_of(model))


def _judge_of(question: Question, model: str, device: str) -> Callable[[], Scorer]:
    """What makes the judge that can tell what these prompts ask for."""
    from benchmarks.alignment.eye_judge import EyeJudge
    from benchmarks.alignment.prompts import SHAPES_SETS
    from benchmarks.alignment.scoring import Judge

    eye = _eye(model)
    return Judge if eye is None or set(question.sets) <= set(SHAPES_SETS) else lambda: EyeJudge(eye, device)


def _checked_scorers(names: list[str], question: Question, eye: Path | None) -> list[str]:
    """The scorers that are asked for, or the one that fits. Raises UserError."""
    from benchmarks.alignment.prompts import SHAPES_SETS
    from benchmarks.alignment.protocols import PUBLISHED_SETS

    known = PUBLISHED_SETS if eye is not None else tuple(SHAPES_SETS)
    judged = not question.files and set(question.sets) <= set(known)
    for name in names:
        if name not in SCORERS:
            raise UserError(f"--scorers {name!r} is not known: choose from {', '.join(SCORERS)}")
    if "judge" in names and not judged:
        raise UserError(f"--scorers judge knows the sets {', '.join(known)} alone: use clip for the others")
    return names or ["judge" if judged else "clip"]


def _scorers(
    names: list[str], clip: str | None, blip: str | None, device: str, judge: Callable[[], Scorer]
) -> list[Scorer]:
    found: list[Scorer] = [judge()] if "judge" in names else []
    if {"clip", "blip"} & set(names):
        from benchmarks.scorers import blip as blips
        from benchmarks.scorers import clip as clips

        encoder = clips.ClipEncoder(clip or clips.DEFAULT, device)
        if "clip" in names:
            found.append(clips.ClipScorer(encoder))
        if "blip" in names:
            found.append(blips.BlipScorer(blips.BlipCaptioner(blip or blips.DEFAULT, device), encoder))
    return found


def judged(model: str) -> list[Table]:
    """The judge's own accuracy, as it was measured with the model, to stand wherever its word is taken."""
    from benchmarks.alignment.page import judge_table

    return judge_table(folder_of(model))


def folder_of(model: str) -> Path:
    """Where a model lies, if it is a folder at all."""
    return MODELS / model if model in embedded() else Path(model)


def _names(given: str | None) -> list[str]:
    # A comma within a directive is the directive's.
    return [name.strip() for name in re.split(r",(?![^<]*>)", given or "") if name.strip()]


def show(contents: list[Table]) -> None:
    """Tables on the terminal."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    # A file or a pipe has no width of its own: there the table is not squeezed into eighty columns.
    console = console if console.is_terminal else Console(width=220)
    for content in contents:
        shown = RichTable(title=Text(content.title), title_justify="left")
        for heading in content.heading:
            shown.add_column(Text(heading))
        for row in content.rows:
            shown.add_row(*(Text(cell) for cell in row))
        console.print(shown)
