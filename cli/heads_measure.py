"""`ebca heads measure` and `ebca heads merge`: head relevance vectors of any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lib_ebca.studio import head_measure, loading
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.head_measure import Measuring
from lib_ebca.studio.pictures import write_over
from lib_ebca.studio.recipe import EMBEDDED_DEFAULT, Settings
from lib_ebca.studio.settings import at_least, checked
from lib_ebca.studio.values import part_of

from . import progress
from .options import AllowPickleOption, ModelOption
from .terminal import say

if TYPE_CHECKING:
    from lib_ebca.methods.head_vectors import HeadVectors

OutFile = Annotated[Path, typer.Option("--out", "-o", help="The file of vectors.")]
AddressOption = Annotated[str | None, typer.Option(help="ray: a cluster that runs already, such as auto.")]


def measure(
    concepts: Annotated[
        Path, typer.Option(metavar="FILE.yaml", help="The concepts: a mapping of names to lists of words.")
    ],
    prompts: Annotated[Path, typer.Option(metavar="FILE", help="What is drawn meanwhile: a prompt on each line.")],
    out: OutFile,
    model: ModelOption = None,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 50,
    cfg: Annotated[float, typer.Option(help="Guidance scale; 1 turns guidance off.")] = 7.5,
    seed: Annotated[int, typer.Option(help="Of the words that are drawn, and of the noise.")] = 22,
    sampler: Annotated[str | None, typer.Option(help="By its WebUI name.  (default: the model's)")] = None,
    width: Annotated[int | None, typer.Option(help="In pixels.  (default: the model's own)")] = None,
    height: Annotated[int | None, typer.Option(help="In pixels.  (default: the model's own)")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Prompts drawn together.")] = 8,
    shard: Annotated[
        str | None, typer.Option(metavar="PART/PARTS", help="Only that part of the prompts, such as 2/4; see merge.")
    ] = None,
    engine: Annotated[str, typer.Option(metavar="local|ray", help="Here, or on Ray's workers.")] = "local",
    workers: Annotated[int | None, typer.Option(help="ray: how many.  (default: one for each GPU, or one)")] = None,
    address: AddressOption = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.  (default: the fastest there is)")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no path.")] = False,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Measure head relevance vectors. Run again after a stop, the same command goes on."""
    at_least("--batch-size", batch_size, 1)
    asked = checked(
        Settings(model or EMBEDDED_DEFAULT, steps=steps, guidance=cfg, device=device, dtype=dtype, sampler=sampler)
    )
    what = Measuring(
        head_measure.read_words(concepts),
        head_measure.read_prompts(prompts),
        steps,
        cfg,
        seed,
        asked.sampler,
        width,
        height,
    )
    numbers = _part(shard, len(what.prompts))
    if engine == "ray":
        from .heads_ray import measured

        found: Iterator[HeadVectors] = measured(asked, what, numbers, batch_size, (address, workers), allow_pickle, out)
    elif engine == "local":
        found = _measured_here(asked, what, numbers, batch_size, allow_pickle, out)
    else:
        raise UserError(f"--engine is {engine!r}: it should be local or ray")
    before, there = head_measure.before(out), _content(out)
    done = 0 if before is None else len(before.measured["done"])
    with progress.bar("measuring", quiet) as advance:
        total = before
        for part in found:
            total = part if total is None else head_measure.added([total, part])
            if _content(out) != there:
                raise UserError(
                    f"another run has written into {str(out)!r} meanwhile: give each its own --out, and merge"
                )
            _write(total, out)
            there = _content(out)
            done += len(part.measured["done"])
            advance(done, len(numbers))
    if not quiet:
        say(out)


def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What the shards wrote.")], out: OutFile
) -> None:
    """Add up the votes of shards that were measured apart."""
    from lib_ebca.methods.head_vectors import read

    _write(head_measure.added([read(part) for part in parts]), out)
    say(out)


def _measured_here(
    asked: Settings, what: Measuring, numbers: Sequence[int], batch_size: int, allow_pickle: bool, out: Path
) -> Iterator[HeadVectors]:
    model = loading.load(asked, allow_pickle)
    left = head_measure.remaining(what, what.facts(model), numbers, out)
    yield from head_measure.batches(model, what, left, batch_size)


def _content(out: Path) -> bytes | None:
    return out.read_bytes() if out.is_file() else None


def _write(vectors: HeadVectors, out: Path) -> None:
    """Whole or not at all, so that a stop leaves what was there before."""
    try:
        write_over(out, vectors.to_text().encode())
    except OSError as error:
        raise UserError(f"--out {str(out)!r} cannot be written: {error.strerror or error}") from None


def _part(shard: str | None, count: int) -> list[int]:
    if shard is None:
        return list(range(count))
    part, parts = part_of("--shard", shard)
    numbers = list(range(part - 1, count, parts))
    if not numbers:
        raise UserError(f"--shard is {shard!r}: there are only {count} prompts")
    return numbers
