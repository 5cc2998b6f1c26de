"""The most memory that a piece of work holds at once, beyond what was there before it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Peak of what PyTorch's allocator handed out during ``work``, less what it held before.

    On CUDA by the allocator's own counter. On the CPU from the profiler's record of every allocation and release: exact
    and free of the noise of the process' resident set, but blind to scratch memory that a library takes for itself.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    kineto = profiled.profiler.kineto_results
    changes = [event for event in kineto.events() if event.name() == "[memory]"]
    held = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        held += change.nbytes()
        peak = max(peak, held)
    return peak


class Held(TorchDispatchMode):
    """Counts the bytes of all tensors made while it is on, and lives on fake tensors too, which hold nothing.

    It sees what operations return, and not what a kernel takes for itself meanwhile.

    Attributes:
        now: bytes of what was made and is still referred to.
        peak: the most of them so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {id(each.untyped_storage()) for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                storage = each.untyped_storage()
                if id(storage) not in given | self._known:
                    self._take(storage)
        return result

    def _take(self, storage: torch.UntypedStorage) -> None:
        size, key = storage.nbytes(), id(storage)
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)

        def release() -> None:
            self._known.discard(key)
            self.now -= size

        weakref.finalize(storage, release)
