"""Pictures from methods, drawn by the studio that draws everybody's, and what they took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib_ebca.studio import Studio
from lib_ebca.studio.recipe import Recipe, Settings

from .methods import Method
from .prompts import Item
from .step_rules import installed


@dataclass(frozen=True)
class Sampling:
    """How pictures are sampled: steps, guidance, and pictures in one batch of the UNet."""

    steps: int = 25
    guidance: float = 6.0
    batch: int = 16


@dataclass(frozen=True, eq=False)
class Drawn:
    """Pictures (B, 3, H, W) in [0, 1] on the pipeline's device; the UNet's evaluations and the seconds they took.

    An evaluation that takes a gradient counts as one, though it is of the conditional rows alone and not whole.
    """

    pictures: Tensor
    evaluations: int
    seconds: float


class Drawing:
    """A studio that draws items by methods.

    Args:
        studio: what draws.
        sampling: how to sample.
        sampler: by what, under the studio's name for it; the model's usual one if None.
    """

    def __init__(self, studio: Studio, sampling: Sampling, sampler: str | None = None) -> None:
        self.pipe = studio.model.pipe
        self.sampling = sampling
        self._studio = studio
        self._settings = Settings(
            model=studio.model.source.model,
            steps=sampling.steps,
            guidance=sampling.guidance,
            sampler=sampler,
            device=self.pipe.device.type,
        )
        self.pipe.set_progress_bar_config(disable=True)

    def draw(self, batch: Sequence[Item], method: Method) -> Drawn:
        """One batch. The first latent of each picture depends on its prompt and its seed alone."""
        recipes = [
            Recipe(self._settings, item.prompt.text, method.plan(item.prompt), item.noise_seed) for item in batch
        ]
        clock = _Clock(self.pipe.unet.device)
        with installed(method.rules), clock.watching(self.pipe.unet):
            drawn = self._studio.draw(recipes)
        run = drawn[0].run
        if run.comments:
            raise RuntimeError(f"method {method.name!r}: {run.comments[0]}")
        gradients: dict[int, int] = {}
        for record in run.excited:
            gradients[record.step] = max(gradients.get(record.step, 0), record.evaluations)
        pictures = np.stack([np.asarray(picture.image.convert("RGB")) for picture in drawn])
        return Drawn(
            (torch.from_numpy(pictures).movedim(-1, 1) / 255).to(self.pipe.unet.device),
            clock.evaluations + sum(gradients.values()),
            clock.seconds(),
        )


@dataclass
class _Clock:
    """Time from the beginning of the UNet's first evaluation to the end of its last, as the device sees it."""

    device: torch.device
    evaluations: int = 0
    _marks: list[Any] = field(default_factory=list)

    @contextmanager
    def watching(self, unet: torch.nn.Module) -> Iterator[None]:
        before = unet.register_forward_pre_hook(lambda *_: self._begin())
        after = unet.register_forward_hook(lambda *_: self._end())
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def seconds(self) -> float:
        if len(self._marks) < 2:
            return 0.0
        first, last = self._marks
        if self.device.type != "cuda":
            return float(last - first)
        torch.cuda.synchronize(self.device)
        return float(first.elapsed_time(last)) / 1000

    def _begin(self) -> None:
        if not self._marks:
            self._marks.append(self._mark())

    def _end(self) -> None:
        self.evaluations += 1
        self._marks[1:] = [self._mark()]

    def _mark(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event
