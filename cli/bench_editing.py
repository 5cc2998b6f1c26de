"""`ebca bench editing` and `ebca bench inversions`: edits of drawn scenes, and how pictures come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.measurement import write_json
from lib_ebca.studio import loading
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.head_files import beside
from lib_ebca.studio.loading import Model
from lib_ebca.studio.recipe import EMBEDDED_DEFAULT, Settings
from lib_ebca.studio.settings import at_least, checked, completed

from . import bench_alignment, progress
from .bench_scorers import folder_of, judged
from .errors import sentences
from .options import AllowPickleOption, ModelOption

if TYPE_CHECKING:
    from benchmarks.alignment.tables import Table

JsonFile = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the measurement as JSON, - for stdout.")
]
Batch = Annotated[int, typer.Option("--batch-size", help="Pictures at once.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps.  (default: the fastest there is)")]
Dtype = Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.")]

Pages = Annotated[
    list[Path] | None,
    typer.Option(
        "--page", metavar="FILE", help="Page whose tables are written anew, between their markers. Repeatable."
    ),
]


def editing(
    scenes: Annotated[
        int | None,
        typer.Option(help="Scenes, each edited in every way.  [default: 64, with --tune 8]", show_default=False),
    ] = None,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 20,
    tune: Annotated[
        bool, typer.Option("--tune", help="All candidates for the methods' settings, on scenes of their own.")
    ] = False,
    batch_size: Batch = 16,
    model: ModelOption = None,
    device: Device = None,
    dtype: Dtype = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for the results; run again to go on.  [default: outputs/editing, -tuning]"
        ),
    ] = None,
    pages: Pages = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="PNG", help="Also a picture: the first scenes, edited.")
    ] = None,
    json_file: JsonFile = None,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Edits of drawn scenes: success and what was kept, method by method.

    On the model shapes: the colour or shape of an object, removing it, restyling it. On primer the published ones: a
    cat to a dog, a horse to a zebra, glasses put on.
    """
    with _sentences():
        if tune and (pages or sheet):
            raise UserError("--tune chooses settings, the table is made without it: leave out --page and --sheet")
        asked = Settings(model=model or EMBEDDED_DEFAULT, steps=steps, device=device, dtype=dtype)
        from benchmarks.alignment.page import places, renewed_blocks
        from benchmarks.editing import bench, tables
        from benchmarks.editing.grounds import ground_of
        from benchmarks.editing.settings import methods_of
        from benchmarks.editing.sheet import draw_sheet

        ground = ground_of(folder_of(asked.model))
        methods = methods_of(ground.name, tune)
        seed = bench.TUNING_SEED if tune else bench.SCENES_SEED
        scenes = (8 if tune else 64) if scenes is None else scenes
        question = bench.Question(scenes, steps, seed, batch_size, methods, ground)
        for page in pages or ():
            places(page, tables.block_names(question))  # told before anything is drawn
        loaded, about = _loaded(asked, allow_pickle)
        folder = out or Path("outputs/editing-tuning" if tune else "outputs/editing")
        with progress.bar("batches") as advance:
            rows = bench.bench(loaded.pipe, question, folder, about, advance, beside(loaded))
        if tune:
            shown = [tables.tuning_table(rows, question)]
        else:
            shown = [tables.main_table(rows, question), tables.comparisons(rows), tables.settings_table(rows)]
        data = bench.to_dict(rows, scenes=question.scenes, steps=steps, seed=seed, **about)
        names = ["judge", "clip"] if ground.scored else ["judge"]
        _show([*shown, *judged(asked.model, names)], data, json_file)
        renewed_blocks(pages or (), {} if tune else tables.blocks(rows, question, folder_of(asked.model), about))
        if sheet is not None:
            draw_sheet(loaded.pipe, question, sheet, beside(loaded))


def inversions(
    scenes: Annotated[int, typer.Option(help="Drawn scenes; 0 leaves them out.")] = 16,
    photographs: Annotated[
        bool, typer.Option("--photographs/--no-photographs", help="Also those of scikit-image and scikit-learn.")
    ] = True,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 50,
    batch_size: Batch = 8,
    model: ModelOption = None,
    device: Device = None,
    dtype: Dtype = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; run again to go on.")] = Path(
        "outputs/inversions"
    ),
    pages: Pages = None,
    json_file: JsonFile = None,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Invert pictures and sample them again: how well they come back, and at how many evaluations."""
    with _sentences():
        at_least("--scenes", scenes, 0)
        at_least("--batch-size", batch_size, 1)
        asked = Settings(model=model or EMBEDDED_DEFAULT, steps=steps, device=device, dtype=dtype)
        from benchmarks.alignment.page import places, renewed_blocks
        from benchmarks.alignment.tables import markdown
        from benchmarks.editing import bench
        from benchmarks.editing import inversions as ways
        from benchmarks.editing.grounds import ground_of
        from benchmarks.editing.tables import described

        for page in pages or ():
            places(page, [ways.BLOCK])  # told before anything is drawn
        loaded, about = _loaded(asked, allow_pickle)

        sets = {ways.DRAWN: ways.drawn(ground_of(folder_of(asked.model)), scenes, bench.SCENES_SEED)} if scenes else {}
        if photographs:
            sets[ways.PHOTOGRAPHS] = list(ways.photographs(*loaded.size))
        with progress.bar("batches") as advance:
            rows = ways.compare(loaded.pipe, sets, out, about, steps=steps, batch=batch_size, advance=advance)
        shown = ways.table(rows, steps)
        made = f"\nMade by `ebca bench inversions --scenes {scenes} --steps {steps}` with {described(about)}.\n"
        _show([shown], ways.to_dict(rows, steps=steps, **about), json_file)
        renewed_blocks(pages or (), {ways.BLOCK: markdown(shown) + made})


def _loaded(asked: Settings, allow_pickle: bool) -> tuple[Model, dict[str, Any]]:
    loaded = loading.load(checked(asked), allow_pickle)
    done = completed(asked, loaded)
    about = {"model": loaded.source.model, "model_hash": loaded.source.model_hash}
    # The model's own hash is that of its UNet alone.
    about["others_hash"] = _hash_of(loaded.pipe.vae, loaded.pipe.text_encoder)
    return loaded, {**about, "device": done.device, "dtype": done.dtype}


def _hash_of(*parts: Any) -> str:
    """The first ten digits of the SHA-256 of the parts' weights."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for part in parts:
        for _, weights in sorted(part.state_dict().items()):
            digest.update(weights.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:10]


def _show(tables: list[Table], data: dict[str, Any], target: str | None) -> None:
    if target is not None:
        write_json(target, data)
    if target != "-":
        bench_alignment.show(tables)


@contextmanager
def _sentences() -> Iterator[None]:
    """The benchmark's own errors are sentences."""
    with sentences():
        try:
            yield
        except ValueError as error:
            # Only the benchmark's own errors may lose the traceback.
            if not type(error).__module__.startswith("benchmarks."):
                raise
            raise UserError(str(error)) from None
