"""`ebca grid`: the pictures of a matrix as labelled contact sheets."""

from __future__ import annotations

from typing import Annotated

import typer

from ..options import AllowPickleOption
from ..terminal import say
from .command import (
    FAILED,
    AddressOption,
    BatchSizeOption,
    DeviceOption,
    EngineOption,
    JobsArgument,
    NameOption,
    OutOption,
    QuietOption,
    ResumeOption,
    RetryOption,
    WorkersOption,
)
from .session import Options, asked_in, carried_out


def grid(
    jobs: JobsArgument,
    x: Annotated[str | None, typer.Option("--x", help="Axis that runs across.  (default: the first)")] = None,
    y: Annotated[str | None, typer.Option("--y", help="Axis that runs down.  (default: the second)")] = None,
    out: OutOption = "outputs/grid",
    name: NameOption = None,
    resume: ResumeOption = False,
    retry_failed: RetryOption = False,
    batch_size: BatchSizeOption = 4,
    device: DeviceOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Make the pictures of jobs with a matrix, where they are not there yet, and lay each job out.

    Each further axis than two makes a PNG of its own for each value; the HTML page has a slider for every axis.
    """
    from . import contact
    from .grid import cubes
    from .manifest import Manifest
    from .store import Store

    options = Options(
        out,
        name,
        resume,
        retry_failed,
        batch_size=batch_size,
        device=device,
        engine=engine,
        address=address,
        workers=workers,
        quiet=quiet,
        allow_pickle=allow_pickle,
    )
    asked = asked_in(jobs, options)
    laid_out = cubes(asked.items, x, y)
    store = Store(out)
    contact.refuse_others(laid_out, store)
    summary = carried_out(asked, options)
    made = Manifest(store).read().made
    for cube in laid_out:
        for file, data in (*contact.sheets(cube, store, made), contact.page(cube, store, made)):
            store.write(file, data)
            if not quiet:
                say(f"{out.rstrip('/')}/{file}")
    if summary.failed:
        raise typer.Exit(FAILED)
