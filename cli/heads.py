"""`ebca heads`: head relevance vectors, measured, looked at, and put to the test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lib_ebca.studio import loading, samplers
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.head_files import BESIDE
from lib_ebca.studio.locate import MODELS, embedded, path_of
from lib_ebca.studio.pictures import output_folder, save_free
from lib_ebca.studio.recipe import EMBEDDED_DEFAULT, Settings
from lib_ebca.studio.settings import at_least, checked, completed
from lib_ebca.studio.values import finite

from . import heads_measure, progress
from .batch.names import safe
from .examples import ExampleGroup
from .options import AllowPickleOption, JsonOption, ModelOption, VectorsOption
from .terminal import say, say_json

if TYPE_CHECKING:
    from benchmarks.heads.weakening import Curves, Score, Weakening
    from lib_ebca.methods.head_vectors import HeadVectors
    from lib_ebca.studio.loading import Model

app = typer.Typer(
    cls=ExampleGroup,
    name="heads",
    help="Head relevance: which attention heads care for which concept.",
    no_args_is_help=True,
)
app.command()(heads_measure.measure)
app.command()(heads_measure.merge)

_FAMILIES = ("sd1", "sdxl")
JUDGED = "shapes"
"""The embedded model whose pictures are judged by rule."""
_POINTS = 8  # weakened counts on a curve, beside none and all


@app.callback()
def heads() -> None:
    """Head relevance: which attention heads care for which concept."""


@app.command()
def show(
    vectors: Annotated[
        str, typer.Argument(metavar="FILE|sd1|sdxl|MODEL", help="A file of vectors, the published ones, or a model's.")
    ] = EMBEDDED_DEFAULT,
    concept: Annotated[
        list[str] | None, typer.Option("--concept", help="Only these in the map of heads. Repeatable.")
    ] = None,
    top: Annotated[int, typer.Option(help="Heads listed for each concept.")] = 3,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the plots.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what vectors hold: the most relevant heads of each concept, and with --out plots."""
    at_least("--top", top, 1)
    found = _named(vectors)
    names = tuple(found.concepts[found.row(each)] for each in concept) if concept else found.concepts
    listed = {name: _top(found, name, top) for name in names}
    written = [] if out is None else _plots(found, names, output_folder(out))
    if as_json:
        say_json(
            {
                "origin": found.origin,
                "heads": found.heads,
                "measured": {name: value for name, value in found.measured.items() if name not in ("done", "words")},
                "concepts": listed,
                "plots": [str(path) for path in written],
            }
        )
        return
    say(f"{len(found.concepts)} concepts, {len(found.heads)} layers, {sum(found.heads)} heads; {found.origin}")
    for name, ranked in listed.items():
        say(f"{name}: " + ", ".join(f"layer {e['layer']} head {e['head']} ({e['relevance']:.2f})" for e in ranked))
    for path in written:
        say(path)


@app.command()
def weaken(
    concept: Annotated[str, typer.Argument(help="The concept whose vector is tried.")],
    vectors: VectorsOption = None,
    model: ModelOption = None,
    prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A prompt on each line.  (default: the model shapes' own, and its judge)"),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(metavar="shapes|colours|binding|clip", help="What is scored.  (default: shapes, or clip)"),
    ] = None,
    word: Annotated[
        str | None, typer.Option(help="clip: what pictures are compared with.  (default: each one's prompt)")
    ] = None,
    count: Annotated[int, typer.Option(help="Pictures in each condition.")] = 24,
    points: Annotated[int, typer.Option(help="Numbers of weakened heads, beside none and all.")] = _POINTS,
    factor: Annotated[float, typer.Option(help="Of a weakened head's attention.")] = -2.0,
    randoms: Annotated[int, typer.Option(help="Random orders.")] = 3,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 25,
    cfg: Annotated[float, typer.Option(help="Guidance scale.")] = 3.0,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures at once.")] = 8,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the plot and the JSON.")] = Path("outputs/heads"),
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.  (default: the fastest there is)")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Weaken heads in the order of a concept's relevance, beside random orders and all heads alike, and score."""
    for name, value in (("--count", count), ("--points", points), ("--randoms", randoms), ("--batch-size", batch_size)):
        at_least(name, value, 1)
    asked = checked(
        Settings(model or EMBEDDED_DEFAULT, steps=steps, guidance=finite("--cfg", cfg), device=device, dtype=dtype)
    )
    finite("--factor", factor)
    folder = output_folder(out)
    from benchmarks.heads import weakening

    loaded = loading.load(asked, allow_pickle)
    completed(asked, loaded)
    found = _vectors_of(loaded, vectors)
    row = found.row(concept)
    texts, seeds, scoring, clusters = _scored(loaded, prompts, score, word, count)
    heads_of_all = sum(found.heads)
    counts = sorted({round(heads_of_all * place / (points + 1)) for place in range(points + 2)})
    what = weakening.Weakening(texts, seeds, tuple(counts), factor, randoms, steps, cfg)
    loaded.pipe.scheduler = samplers.scheduler_for(samplers.default_for(loaded.pipe), loaded.scheduler_config)
    with progress.bar("weakening", quiet) as advance:
        scores = weakening.draw(loaded.pipe, found, found.relevance[row], what, scoring, batch_size, advance)
    name = found.concepts[row]
    _tell(weakening.curves(scores, what, clusters), what, name, score or "clip", folder, loaded, found)


def _tell(
    result: Curves, what: Weakening, concept: str, score: str, folder: Path, loaded: Model, found: HeadVectors
) -> None:
    from benchmarks.heads import plots

    stem = safe(f"weaken-{concept.lower()}")
    plot = save_free(folder / f"{stem}.png", plots.curves(result.points, f"{concept}: heads weakened in order", score))
    content: dict[str, Any] = {
        "concept": concept,
        "score": score,
        "model": loaded.source.model,
        "model_hash": loaded.source.model_hash,
        "vectors": found.origin,
        "what": asdict(what),
        "points": {order: {str(c): asdict(e) for c, e in line.items()} for order, line in result.points.items()},
        "areas": {order: asdict(each) for order, each in result.areas.items()},
        "gaps": {order: asdict(each) for order, each in result.gaps.items()},
    }
    numbers = save_free(folder / f"{stem}.json", (json.dumps(content, indent=1) + "\n").encode())
    for order, area in result.areas.items():
        say(f"area {order}: {area.value:.3f} [{area.low:.3f}, {area.high:.3f}]")
    for order, gap in result.gaps.items():
        say(f"least relevant first less {order}: {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]")
    say(plot)
    say(numbers)


def _scored(
    loaded: Model, prompts: Path | None, score: str | None, word: str | None, count: int
) -> tuple[tuple[str, ...], tuple[int, ...], Score, tuple[str, ...]]:
    """Prompts, seeds, the score of pictures, and what hangs together."""
    from benchmarks.heads.scoring import judged, resembling
    from benchmarks.scorers.loading import ScorerError
    from lib_ebca.studio.head_measure import read_prompts

    if prompts is None:
        if loaded.source.model != JUDGED or score == "clip":
            raise UserError(
                f"--prompts is missing: only the prompts and the judge of the model {JUDGED} are known here"
            )
        return judged(score or "shapes", count)
    if score not in (None, "clip"):
        raise UserError(
            f"--score {score} is the judge of the model {JUDGED}, which has its own prompts: leave out --prompts"
        )
    try:
        return resembling(read_prompts(prompts), word, count, loaded.pipe.device.type)
    except ScorerError as error:
        raise UserError(str(error)) from None


def _named(given: str) -> HeadVectors:
    from lib_ebca.methods.head_order import SD1, SDXL
    from lib_ebca.methods.head_vectors import published, read

    if given in _FAMILIES:
        return published({"sd1": SD1, "sdxl": SDXL}[given])
    folder = MODELS / given if given in embedded() else path_of(given)
    return read(folder / BESIDE if folder.is_dir() else folder)


def _vectors_of(loaded: Model, given: Path | None) -> HeadVectors:
    from lib_ebca.hosts.unet import cross_attention_layers
    from lib_ebca.methods.head_vectors import published, read

    heads_of = [layer.heads for _, layer in cross_attention_layers(loaded.pipe.unet)]
    beside = None if loaded.folder is None else loaded.folder / BESIDE
    path = given if given is not None else beside if beside is not None and beside.is_file() else None
    found = published(heads_of) if path is None else read(path)
    found.require(heads_of)
    return found


def _top(vectors: HeadVectors, concept: str, count: int) -> list[dict[str, float]]:
    from lib_ebca.methods.head_relevance import most_relevant_first

    vector = vectors.relevance[vectors.row(concept)]
    places = [(layer, head) for layer, heads in enumerate(vectors.heads, start=1) for head in range(heads)]
    return [
        {"layer": places[column][0], "head": places[column][1] + 1, "relevance": round(float(vector[column]), 4)}
        for column in most_relevant_first(vector)[:count]
    ]


def _plots(vectors: HeadVectors, names: Sequence[str], folder: Path) -> list[Path]:
    from benchmarks.heads import plots

    made = {"heads.png": plots.heads(vectors, names), "cosines.png": plots.cosines(vectors)}
    if vectors.counts is not None:
        made["steps.png"] = plots.stability(vectors)
    return [save_free(folder / name, data) for name, data in made.items()]
