"""`ebca bench alignment`: whether pictures say what their prompts say, with and without the method."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lib_ebca.studio import loading
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import embedded
from lib_ebca.studio.recipe import EMBEDDED_DEFAULT, Settings
from lib_ebca.studio.settings import at_least, checked, completed
from lib_ebca.studio.values import part_of

from . import progress
from .bench_scorers import checked_scorers, eye_beside, judge_for, judged, scorer_beside, scorers_named
from .errors import sentences
from .options import AllowPickleOption, ModelOption
from .terminal import say

if TYPE_CHECKING:
    from benchmarks.alignment.bench import Question
    from benchmarks.alignment.protocols import Protocol
    from benchmarks.alignment.tables import Table

QUICK = {"steps": 15, "prompts": 24}
EMBEDDED_PROMPTS = 256
DEFAULT_METHODS = ("plain", "bcu", "boosts")


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
            metavar="NAME,...", help="judge, clip, blip.  [default: judge, clip or both, as fits]", show_default=False
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
    clip: Annotated[
        str | None, typer.Option(metavar="ID", help="CLIP: hub id or folder.  (default: the model's own, or openai's)")
    ] = None,
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
    pages: Annotated[
        list[Path] | None,
        typer.Option(
            "--page", metavar="FILE", help="Page whose tables are written anew, between their markers. Repeatable."
        ),
    ] = None,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Methods x prompts x seeds, paired by seed, with intervals, costs and contact sheets of wins and losses."""
    with sentences():
        from benchmarks.alignment.bench import Question
        from benchmarks.alignment.bench_page import block_name
        from benchmarks.alignment.page import places, renewed
        from benchmarks.alignment.protocols import PUBLISHED_SETS

        name = model or EMBEDDED_DEFAULT
        own = name in embedded() or model is None
        eye = eye_beside(name)
        steps = (QUICK["steps"] if quick else 25) if steps is None else steps
        settings = checked(Settings(model=name, steps=steps, guidance=cfg, sampler=sampler, device=device, dtype=dtype))
        at_least("--batch-size", batch_size, 1)
        if limit is None:
            limit = QUICK["prompts"] if quick else EMBEDDED_PROMPTS if own else None
        try:
            compared = _protocol(protocol)
            asked = _sets(compared, sets, prompts, own and eye is None)
            usual = DEFAULT_METHODS if compared is None else compared.methods
            question = Question(
                asked,
                tuple(prompts or ()),
                limit,
                1 if seeds is None else seeds,
                tuple(_names(methods)) or usual,
                half,
                None if compared is None or seeds is not None else compared.pictures,
                judged=eye is not None and not prompts and set(asked) <= set(PUBLISHED_SETS),
            )
            question.items()  # what is wrong with a file is told before a model is loaded
            names = checked_scorers(_names(scorers), question, eye, scorer_beside(name))
            place = block_name(protocol)
            for page in pages or ():
                places(page, [place])  # told before anything is drawn
            text = _run(
                settings, question, (names, clip, blip), batch_size, part_of("--shard", shard), out, allow_pickle
            )
            for page in pages or ():
                renewed(page, text, place)
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
) -> str:
    """Answers the question, shows the tables, and returns them as a page's block."""
    from benchmarks.alignment.bench import bench, sheets, tables
    from benchmarks.alignment.bench_page import block
    from benchmarks.alignment.drawing import Drawing, Sampling
    from lib_ebca.studio import Studio

    loaded = loading.load(settings, allow_pickle)
    settings = completed(settings, loaded)
    device, own_clip = str(settings.device), scorer_beside(settings.model)
    scorers = scorers_named(*scored, device, judge_for(question, settings.model, device), own_clip)
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
    names, clip, _ = scored
    accuracy = judged(settings.model, [name for name in names if name != "clip" or clip is None])
    show([*tables(found, scorers, question), *accuracy])
    if found.done < found.wanted:
        say(f"{found.done} of {found.wanted} batches are done; the other shards add theirs to {out}.")
    # They are the largest of all, which a part cannot know.
    written = [] if found.done < found.wanted else [path.name for path in sheets(drawing, scorers, question, out)]
    say(f"In {out}: summary.json" + "".join(f", {name}" for name in written))
    return block(found, scorers, question, drawing.sampling, described, _command(), accuracy)


def _command() -> str:
    """The command as it was given, without where results and pages go."""
    given, kept = iter(sys.argv[1:]), ["ebca"]
    for word in given:
        if word in ("--page", "--out", "-o"):
            next(given, None)
        elif not word.startswith(("--page=", "--out=")):
            kept.append(shlex.quote(word))
    return " ".join(kept)


def _protocol(name: str | None) -> Protocol | None:
    from benchmarks.alignment.protocols import PROTOCOLS

    if name is not None and name not in PROTOCOLS:
        raise UserError(f"--protocol {name!r} is not known: choose from {', '.join(PROTOCOLS)}")
    return None if name is None else PROTOCOLS[name]


def _sets(protocol: Protocol | None, sets: list[str] | None, files: list[Path] | None, shapes: bool) -> tuple[str, ...]:
    """The sets that are asked for, or those that fit the model. Raises UserError."""
    from benchmarks.alignment import attend_and_excite
    from benchmarks.alignment.prompts import SHAPES_SETS

    if protocol is not None and (sets or files):
        raise UserError("--protocol brings its own prompts: leave --set and --prompts out")
    if protocol is not None:
        return protocol.sets
    if sets or files:
        return tuple(sets or ())
    return tuple(SHAPES_SETS) if shapes else attend_and_excite.SETS


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
