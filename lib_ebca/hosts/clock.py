"""How far a pipeline's pass is, told by the timestep that the UNet is called with.

Counting calls would be wrong: panoramas, self-attention guidance and inner loops call the UNet several times in a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

UNKNOWN = (
    "EBCA was not applied: the UNet was called at a timestep that is none of the pipeline's scheduler's, so that "
    "nothing says how far the pass is."
)


class Clock:
    """The number of an evaluation within a pass, from 0: places within the scheduler's timesteps, from the first on.

    Two evaluations of one step are two places where the scheduler says so, as PNDM and Heun do.

    Args:
        pipe: its ``scheduler`` has got its timesteps.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._first: int | None = None
        self._last = 0

    def number(self, timestep: Any) -> int | None:
        """Of the evaluation at a timestep; None if it is none of the pass's. The first one that is asked for is 0."""
        place = self._place(timestep)
        if place is None or place < (self._first or 0):
            return None
        self._first = place if self._first is None else self._first
        self._last = place
        return place - self._first

    @property
    def steps(self) -> int:
        """Sampling steps of the pass: what a plan's fractions are fractions of."""
        return executed_steps(self._pipe, self._first or 0)

    def _place(self, timestep: Any) -> int | None:
        scheduler = self._pipe.scheduler
        timesteps = scheduler.timesteps
        if scheduler.num_inference_steps is None or _within(timestep, _timesteps(self._pipe, "inverse_scheduler")):
            return None
        if _within(timestep, timesteps):
            # Without waiting for the device, and exact where a timestep occurs twice.
            return (timestep.storage_offset() - timesteps.storage_offset()) // timesteps.stride(0)
        if isinstance(timestep, Tensor) and timestep.ndim:
            if not bool((timestep == timestep.reshape(-1)[0]).all()):
                return None
            timestep = timestep.reshape(-1)[0]
        sought = torch.as_tensor(timestep)
        places: list[int] = (timesteps.to(sought.device, sought.dtype) == sought).nonzero().flatten().tolist()
        if places:
            return next((place for place in places if place >= self._last), places[0])
        # Some pipelines hand the UNet a function of the timestep.
        index: int | None = getattr(scheduler, "step_index", None)
        return index


def executed_steps(pipe: Any, first: int = 0) -> int:
    """Number of sampling steps of the pass that a pipeline is in: what a plan's fractions are fractions of.

    Image-to-image runs only the last part of the schedule. PNDM evaluates one step twice; that is no step of its own.
    A scheduler may announce the number itself.

    Args:
        pipe: a diffusers pipeline that is sampling or has sampled.
        first: place of the pass's first timestep within the scheduler's.
    """
    if announced := getattr(pipe.scheduler, "announced_evaluations", None):
        return int(announced)
    timesteps = pipe.scheduler.timesteps[first:]
    timesteps = timesteps[: getattr(pipe, "_num_timesteps", None) or len(timesteps)]
    if getattr(pipe.scheduler, "order", 1) > 1:
        return max(1, len(timesteps))
    return max(1, len(set(timesteps.tolist())))


def _within(timestep: Any, timesteps: Any) -> bool:
    """Whether a timestep is a view of one of these, repeated or not."""
    if not isinstance(timestep, Tensor) or not isinstance(timesteps, Tensor):
        return False
    single = timestep.numel() == 1 or not any(timestep.stride())
    return single and timestep.untyped_storage().data_ptr() == timesteps.untyped_storage().data_ptr()


def _timesteps(pipe: Any, name: str) -> Any:
    return getattr(getattr(pipe, name, None), "timesteps", None)
