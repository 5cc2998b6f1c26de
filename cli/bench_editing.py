"""`ebca bench editing` and `ebca bench inversions`: edits of drawn scenes, and how pictures come back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from cli import loading, progress
from cli.errors import UserError, sentences
from cli.loading import Model
from cli.options import AllowPickleOption, ModelOption
from cli.recipe import EMBEDDED_DEFAULT, Settings
from cli.settings import at_least, checked, completed

JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the measurement as JSON, - for stdout.")
]
Batch = Annotated[int, typer.Option("--batch-size", help="Pictures at once.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps.  (default: the fastest there is)")]
Dtype = Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.")]


def editing(
    scenes: Annotated[int, typer.Option(help="Scenes of each kind of edit.")] = 64,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 50,
    cfg: Annotated[float, typer.Option(help="Guidance scale.")] = 7.5,
    add: Annotated[float, typer.Option(help="Strength of what comes.")] = 0.75,
    take: Annotated[float, typer.Option(help="Strength of what goes.")] = 0.65,
    start: Annotated[float, typer.Option(help="Fraction of the pass after which edits act.")] = 0.5,
    gamma: Annotated[float, typer.Option(help="BCU on the editorial contexts.")] = 6e-4,
    seed: Annotated[int | None, typer.Option(help="Of the scenes; the table's own if not given.")] = None,
    batch_size: Batch = 16,
    model: ModelOption = None,
    device: Device = None,
    dtype: Dtype = None,
    json_file: JsonFile = None,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Change the colour or shape of an object, remove it, restyle it: success and what was kept, method by method."""
    with _sentences():
        at_least("--scenes", scenes, 1)
        asked = Settings(model=model or EMBEDDED_DEFAULT, steps=steps, guidance=cfg, device=device, dtype=dtype)
        loaded, about = _loaded(asked, allow_pickle)
        from benchmarks.editing import bench
        from benchmarks.editing.methods import Sampling

        sampling = Sampling(steps, cfg, add, take, start, gamma, batch_size)
        number = bench.SCENES_SEED if seed is None else seed
        with progress.bar("methods") as advance:
            rows = bench.bench(loaded.pipe, sampling, count=scenes, seed=number, advance=advance)
        _show(bench.table(rows), bench.to_dict(rows, sampling, scenes=scenes, seed=number, **about), json_file)


def inversions(
    scenes: Annotated[int, typer.Option(help="Drawn scenes; 0 leaves them out.")] = 64,
    photographs: Annotated[
        bool, typer.Option("--photographs/--no-photographs", help="Also those of scikit-image and scikit-learn.")
    ] = True,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 50,
    batch_size: Batch = 16,
    model: ModelOption = None,
    device: Device = None,
    dtype: Dtype = None,
    json_file: JsonFile = None,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Invert pictures and sample them again: how well they come back, and at how many evaluations."""
    with _sentences():
        at_least("--scenes", scenes, 0)
        at_least("--batch-size", batch_size, 1)
        asked = Settings(model=model or EMBEDDED_DEFAULT, steps=steps, device=device, dtype=dtype)
        loaded, about = _loaded(asked, allow_pickle)
        from benchmarks.editing import bench
        from benchmarks.editing import inversions as ways

        sets = {ways.DRAWN: ways.drawn(scenes, bench.SCENES_SEED)} if scenes else {}
        if photographs:
            sets[ways.PHOTOGRAPHS] = list(ways.photographs(*loaded.size))
        rows = []
        for name, samples in sets.items():
            with progress.bar(name) as advance:
                rows += ways.compare(loaded.pipe, samples, name, steps=steps, batch=batch_size, advance=advance)
        _show(ways.table(rows), ways.to_dict(rows, steps=steps, **about), json_file)


def _loaded(asked: Settings, allow_pickle: bool) -> tuple[Model, dict[str, Any]]:
    loaded = loading.load(checked(asked), allow_pickle)
    done = completed(asked, loaded)
    about = {"model": loaded.source.model, "model_hash": loaded.source.model_hash}
    return loaded, {**about, "device": done.device, "dtype": done.dtype}


def _show(lines: Sequence[Sequence[str]], data: dict[str, Any], target: str | None) -> None:
    from cli.bench import write_json

    if target is not None:
        write_json(target, data)
    if target == "-":
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*lines[0])
    for line in lines[1:]:
        table.add_row(*line)
    console = Console()
    # A file or a pipe has no width of its own: there the table is not squeezed into eighty columns.
    (console if console.is_terminal else Console(width=200)).print(table)


@contextmanager
def _sentences() -> Iterator[None]:
    """The benchmark's own errors are sentences."""
    from benchmarks.editing.edits import EditingError

    try:
        with sentences():
            yield
    except EditingError as error:
        with sentences():
            raise UserError(str(error)) from None
