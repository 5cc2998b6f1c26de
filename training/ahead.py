"""Drawing ahead: what the steps of a training will need, made by other processes while the device computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")

AHEAD = 4
# Enough steps for any run: a loader is told the steps in advance.
FAR = 10**7


def usual_workers(device: torch.device) -> int:
    """None on a CPU, which has other things to do; beside a GPU all cores but one."""
    return max(1, (os.cpu_count() or 2) - 1) if device.type == "cuda" else 0


def _as_it_is(made: T) -> T:
    return made


class _Steps(Dataset[T]):
    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make

    def __getitem__(self, step: int) -> T:
        return self._make(step)

    def __len__(self) -> int:
        return FAR


class Ahead(Generic[T]):
    """Calls give what `make(step)` gives. With workers it is made beforehand as long as steps follow each other.

    `make` depends on its step alone, works on the CPU, and makes what goes through a pipe: arrays, not tensors."""

    def __init__(self, make: Callable[[int], T], workers: int) -> None:
        self._make, self._workers = make, workers
        self._next = -1
        self._coming: Iterator[T] = iter(())

    def __call__(self, step: int) -> T:
        if not self._workers:
            return self._make(step)
        if step != self._next:
            loader = DataLoader(
                _Steps(self._make),
                batch_size=None,
                sampler=range(step, FAR),
                num_workers=self._workers,
                prefetch_factor=AHEAD,
                collate_fn=_as_it_is,
            )
            self._coming = iter(loader)
        self._next = step + 1
        return next(self._coming)
