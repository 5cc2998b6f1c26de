"""One run from the command line: a file of jobs, a folder, and how to go about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.settings import at_least

from ..terminal import say

if TYPE_CHECKING:
    from .items import Asked
    from .outcome import Outcome
    from .run import Engine, Summary

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Options:
    """How a run is gone about."""

    out: str
    pattern: str | None = None
    resume: bool = False
    retry_failed: bool = False
    fail_fast: bool = False
    batch_size: int = 4
    device: str | None = None
    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    log: str | None = None
    as_json: bool = False
    quiet: bool = False
    allow_pickle: bool = False


def asked_in(jobs: Path, options: Options) -> Asked:
    """The pictures that the file asks for, with their names. Loads no model. Raises UserError."""
    from .items import asked
    from .names import PATTERN, named

    at_least("--batch-size", options.batch_size, 1)
    found = asked(jobs, options.allow_pickle)
    return replace(found, items=named(found.items, options.pattern or PATTERN))


def carried_out(asked: Asked, options: Options) -> Summary:
    """Makes what is missing. Raises UserError."""
    from .logs import logging_to
    from .manifest import Manifest
    from .progress import shown
    from .run import hashes_in, run, work
    from .store import Store

    engine = _engine(options)
    store = Store(options.out)
    with store.locked():
        manifest = Manifest(store)
        history = manifest.read()
        plan = work(asked, store, history, resume=options.resume, retry_failed=options.retry_failed)
        if not options.quiet:
            for sentence in plan.sentences():
                say(sentence, err=True)
        facts = {"pictures": len(asked.items), "to make": len(plan.todo), "engine": options.engine, "out": options.out}
        with (
            logging_to(options.log, store, facts) as log,
            shown(len(plan.todo), options.as_json, options.quiet) as show,
        ):

            def tell(outcome: Outcome) -> None:
                show.tell(outcome)
                log(outcome)

            return run(asked, plan, manifest, hashes_in(history), engine, tell, options.fail_fast)


def _engine(options: Options) -> Engine:
    from .painter import Terms

    terms = Terms(options.batch_size, options.device, options.allow_pickle)
    if options.engine == "local":
        if options.address is not None or options.workers is not None:
            raise UserError("--address and --workers belong to --engine ray: add it")
        from .local_engine import local_engine

        return local_engine(options.out, terms)
    if options.engine == "ray":
        at_least("--workers", 1 if options.workers is None else options.workers, 1)
        from .ray_engine import Cluster, ray_engine

        return ray_engine(options.out, terms, Cluster(options.address, options.workers))
    raise UserError(f"--engine is {options.engine!r}: it should be one of {', '.join(ENGINES)}")
