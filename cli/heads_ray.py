"""`ebca heads measure --engine ray`: prompts spread over Ray's workers, whose counts add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_ebca.studio import head_measure, loading
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.head_measure import Measuring
from lib_ebca.studio.recipe import Settings

from .batch.ray_engine import Cluster, joined, ray_installed, room

if TYPE_CHECKING:
    from lib_ebca.methods.head_vectors import HeadVectors

_AHEAD = 2  # batches a worker has at a time


class _Voter:
    """A worker: a loaded model that measures batches of prompts."""

    def __init__(self, asked: Settings, what: Measuring, allow_pickle: bool) -> None:
        self._model, self._what = loading.load(asked, allow_pickle), what

    def facts(self) -> dict[str, Any]:
        """What every worker's counts must agree in."""
        return self._what.facts(self._model)

    def counted(self, numbers: Sequence[int]) -> HeadVectors:
        """The votes of one batch."""
        return head_measure.added(list(head_measure.batches(self._model, self._what, numbers, len(numbers))))


def measured(
    asked: Settings,
    what: Measuring,
    numbers: Sequence[int],
    batch_size: int,
    cluster: tuple[str | None, int | None],
    allow_pickle: bool,
    out: Path,
) -> Iterator[HeadVectors]:
    """The votes of the prompts that `out` lacks, a batch at a time, in the order in which they arrive.

    A batch whose worker died is measured by whoever is free: Ray starts the worker again. Raises UserError.
    """
    ray = ray_installed()
    if asked.model and Path(asked.model).exists():
        # A worker stands in another folder.
        asked = replace(asked, model=str(Path(asked.model).resolve()))
    where = Cluster(*cluster)
    with joined(ray, where):
        wanted, resources = room(ray, where)
        voter = ray.remote(max_restarts=3, max_task_retries=3, **resources)(_Voter)
        workers = [voter.remote(asked, what, allow_pickle) for _ in range(wanted)]
        try:
            left = head_measure.remaining(what, ray.get(workers[0].facts.remote()), numbers, out)
            batches = [left[first : first + batch_size] for first in range(0, len(left), batch_size)]
            yield from _answers(ray, workers, batches)
        except ray.exceptions.RayActorError as error:
            raise UserError(f"a worker of Ray does not come up any more: {str(error).splitlines()[0]}") from None
        finally:
            for worker in workers:
                ray.kill(worker)


def _answers(ray: Any, workers: Sequence[Any], batches: Sequence[Sequence[int]]) -> Iterator[HeadVectors]:
    waiting = list(reversed(batches))
    busy: dict[Any, Any] = {}
    for worker in list(workers) * _AHEAD:
        if waiting:
            busy[worker.counted.remote(waiting.pop())] = worker
    while busy:
        (first,), _ = ray.wait(list(busy), num_returns=1)
        worker = busy.pop(first)
        if waiting:
            busy[worker.counted.remote(waiting.pop())] = worker
        yield ray.get(first)
