"""The pictures of a run, spread over Ray's workers: each holds a model, on a GPU of its own where there are any.

The driver keeps the queue. A worker is given one pack, and one more to go on with; it writes pictures into the store
itself and answers with lines for the manifest. When it dies, Ray starts it again, and its packs go back to the head of
the queue for whoever is free: a picture that was written already is written over by the same one.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from lib_ebca.studio.errors import UserError

from .items import Item
from .outcome import Failed, Note, Outcome
from .packing import Pack, cut, packed
from .painter import DeviceLost, Painter, Terms
from .run import Engine
from .store import FolderLost, Store

_AHEAD = 2  # packs a worker has at a time: while it answers for one it draws the next
_DEATHS = 3  # of workers over one picture, after which the picture is held to be the cause


@dataclass(frozen=True)
class Cluster:
    """Where the workers are: at `address`, or on this machine. None for `workers` is one for every GPU, or one."""

    address: str | None = None
    workers: int | None = None


@dataclass
class _Worker:
    """An actor and its packs, the one in work first. `waking` is pending while it is started again after a death.

    `excused` are packs that waited behind the one that it died over.
    """

    number: int
    actor: Any
    busy: dict[Any, Pack] = field(default_factory=dict)
    excused: set[Any] = field(default_factory=set)
    waking: Any = None
    gone: bool = False


def ray_engine(url: str, terms: Terms, cluster: Cluster) -> Engine:
    """Workers of a Ray cluster. Raises UserError where Ray is not installed or has no room for them."""
    ray = ray_installed()
    if Store(url).of_one_process:
        raise UserError(f"--out {url!r} lives in one process, and Ray's workers are others: give a folder or a bucket")

    @contextmanager
    def engine(items: Sequence[Item], hashes: dict[str, str]) -> Iterator[Iterator[Sequence[Outcome]]]:
        with joined(ray, cluster):
            wanted, resources = room(ray, cluster)
            packs = packed(items, terms.batch_size)
            made = ray.remote(max_restarts=-1, max_task_retries=0, **resources)(_actor_class(ray))
            own = replace(terms, hashes=hashes)
            workers = [
                _Worker(number, made.remote(url, own, str(number))) for number in range(1, min(wanted, len(packs)) + 1)
            ]
            pool = _Pool(ray, workers, packs)
            try:
                yield pool.outcomes()
            finally:
                for worker in workers:
                    with contextlib.suppress(Exception):
                        ray.kill(worker.actor)

    return engine


class _Pool:
    """The queue and who works on what."""

    def __init__(self, ray: Any, workers: list[_Worker], packs: Sequence[Pack]) -> None:
        self._ray = ray
        self._workers = workers
        self._waiting: deque[Pack] = deque(packs)
        self._deaths: Counter[str] = Counter()

    def outcomes(self) -> Iterator[Sequence[Outcome]]:
        """All outcomes, in the groups in which they arrive. Raises UserError where no worker can be had any more."""
        self._feed()
        while owners := self._owners():
            first, rest = self._ray.wait(list(owners), num_returns=1)
            # Whatever else is there by now: the busier the driver, the larger the groups that it writes at once.
            more, _ = self._ray.wait(rest, num_returns=len(rest), timeout=0) if rest else ([], [])
            group = [outcome for ref in (*first, *more) for outcome in self._answer(owners[ref], ref)]
            self._feed()
            yield group
        if self._waiting:
            raise UserError("all of Ray's workers are gone for good: run the same command again")

    def _owners(self) -> dict[Any, _Worker]:
        owners = {ref: worker for worker in self._workers for ref in worker.busy}
        return owners | {worker.waking: worker for worker in self._workers if worker.waking is not None}

    def _feed(self) -> None:
        for depth in range(1, _AHEAD + 1):
            for worker in self._workers:
                if self._waiting and len(worker.busy) < depth and worker.waking is None and not worker.gone:
                    pack = self._waiting.popleft()
                    worker.busy[worker.actor.made.remote(pack)] = pack

    def _answer(self, worker: _Worker, ref: Any) -> list[Outcome]:
        exceptions = self._ray.exceptions
        try:
            answer = self._ray.get(ref)
        except (exceptions.RayActorError, exceptions.WorkerCrashedError, exceptions.ObjectLostError):
            return self._gone(worker) if ref == worker.waking else self._died(worker, ref)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, FolderLost):
                raise error.cause from None
            raise
        if ref == worker.waking:
            worker.waking = None
            return []
        worker.excused.discard(ref)
        del worker.busy[ref]
        return list(answer)

    def _gone(self, worker: _Worker) -> list[Outcome]:
        worker.waking, worker.gone = None, True
        return [Note(f"Worker {worker.number} does not start any more: going on without it.")]

    def _died(self, worker: _Worker, ref: Any) -> list[Outcome]:
        """Its pack goes back to the head of the queue; a pack that was in work when it happened is held against it."""
        blamed = ref == next(iter(worker.busy)) and ref not in worker.excused
        lost = worker.busy.pop(ref)
        worker.excused.discard(ref)
        if worker.waking is None and not worker.gone:
            worker.waking = worker.actor.pid.remote()
        if not blamed:
            self._waiting.appendleft(lost)
            return []
        worker.excused |= worker.busy.keys()
        for item in lost:
            self._deaths[item.key] += 1
        outcomes: list[Outcome] = [Note(f"Worker {worker.number} died; its pictures go to whoever is free.")]
        deaths = max(self._deaths[item.key] for item in lost)
        if len(lost) == 1 and deaths >= _DEATHS:
            item = lost[0]
            sentence = f"the worker died {deaths} times over this picture"
            return [*outcomes, Failed(item.key, item.label, item.place, sentence, None, str(worker.number))]
        # Twice is no accident: alone they show which of them it is.
        self._waiting.extendleft(reversed(cut(lost, 1) if deaths > 1 else [lost]))
        return outcomes


def _actor_class(ray: Any) -> type:
    """A painter that answers with lists, as an actor does."""

    class Hands(Painter):
        @ray.method(max_task_retries=-1)
        def pid(self) -> int:
            return super().pid()

        def made(self, items: Pack) -> list[Outcome]:
            try:
                return list(self.make(items))
            except DeviceLost:
                # A fresh process may find the device again; this one never will.
                os._exit(1)

    return Hands


def ray_installed() -> Any:
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray needs Ray: pip install 'ebca[ray]'") from None
    return ray


@contextmanager
def joined(ray: Any, cluster: Cluster) -> Iterator[None]:
    """Ray at the address, or one that is started here and stopped afterwards. One that is joined already stays."""
    if ray.is_initialized():
        yield
        return
    import logging

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster.address is None:
        options |= {"include_dashboard": False}
        if cluster.workers is not None:
            options |= {"num_cpus": cluster.workers}
    # Ray prints what befalls its workers to stdout, where our own lines are.
    with contextlib.redirect_stdout(sys.stderr):
        yield from _started(ray, cluster, options)


def _started(ray: Any, cluster: Cluster, options: dict[str, Any]) -> Iterator[None]:
    try:
        ray.init(address=cluster.address or "local", **options)
    # Among others Ray raises plain Exception, where its processes do not come up in time.
    except Exception as error:
        where = "" if cluster.address is None else f" at --address {cluster.address!r}"
        raise UserError(f"Ray does not answer{where}: {(str(error).splitlines() or [''])[0]}") from None
    try:
        yield
    finally:
        ray.shutdown()


def room(ray: Any, cluster: Cluster) -> tuple[int, dict[str, Any]]:
    """How many workers, and what each of them takes of the cluster."""
    there = ray.cluster_resources()
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    if gpus:
        wanted, room, resources = cluster.workers or gpus, gpus, {"num_gpus": 1, "num_cpus": 1}
    else:
        wanted, room, resources = cluster.workers or 1, cpus, {"num_cpus": 1}
    if wanted > room:
        kind = "GPUs" if gpus else "CPUs"
        raise UserError(f"--workers is {wanted}: it should be at most {room}, the {kind} of the cluster")
    return wanted, resources
