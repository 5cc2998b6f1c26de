"""`ebca batch`: a file of jobs to a folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lib_ebca.studio.errors import UserError

from ..options import AllowPickleOption, JsonOption
from ..terminal import say
from .session import Options, asked_in, carried_out

FAILED = 1

JobsArgument = Annotated[Path, typer.Argument(help="The jobs: .yaml, or .jsonl with one job a line.")]
OutOption = Annotated[
    str, typer.Option("--out", "-o", metavar="FOLDER", help="Folder or URL (s3://...) for the pictures.")
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="PATTERN",
        help="Names of the pictures, such as {job}/{number:05d}-{seed}; a key is added.  (default: {prompt}-{seed})",
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on in a folder of other jobs. With the same jobs that needs no saying.")
]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")]
FailFastOption = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", help="Pictures drawn together, at most.")]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda or mps.  (default: the fastest there is)")]
EngineOption = Annotated[
    str, typer.Option(metavar="local|ray", help="This process, or the workers of a Ray cluster (extra: ray).")
]
AddressOption = Annotated[
    str | None, typer.Option(help="Of a Ray cluster, such as auto.  (default: one is started on this machine)")
]
WorkersOption = Annotated[int | None, typer.Option(help="Ray's workers.  (default: one for each GPU, or one)")]
LogOption = Annotated[
    str | None, typer.Option("--log", metavar="tensorboard|wandb", help="Curves of the run (extras of those names).")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no summary.")]


def batch(
    jobs: JobsArgument,
    out: OutOption = "outputs/batch",
    name: NameOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Validate all jobs and say what they cost; draw nothing.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Print a line for each picture, with --json all that makes it; draw nothing.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="With --check: load the models and time a few steps of each.")
    ] = False,
    resume: ResumeOption = False,
    retry_failed: RetryOption = False,
    fail_fast: FailFastOption = False,
    batch_size: BatchSizeOption = 4,
    device: DeviceOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    workers: WorkersOption = None,
    log: LogOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Make all pictures of a file of jobs, and only those that are not there yet.

    Started again after whatever stopped it, it goes on where it was. Exit code 1: some failed, manifest.jsonl says why.
    """
    options = Options(
        out,
        name,
        resume,
        retry_failed,
        fail_fast,
        batch_size,
        device,
        engine,
        address,
        workers,
        log,
        as_json,
        quiet,
        allow_pickle,
    )
    if measure and not check:
        raise UserError("--measure belongs to --check: add it")
    asked = asked_in(jobs, options)
    if listed:
        from .check import listing

        listing(asked, as_json)
        return
    if check:
        from .check import report

        report(asked, options, measure, as_json)
        return
    summary = carried_out(asked, options)
    if not (quiet or as_json):
        left = f", {summary.left} left" if summary.left else ""
        say(f"{out}: {summary.made} made, {summary.before} there before, {summary.failed} failed{left}")
    if summary.failed:
        raise typer.Exit(FAILED)
