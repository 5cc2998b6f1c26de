"""Pictures from methods: the product's own way through a pipeline, in large batches, with what is common kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import lib_ebca.hosts.announcement
from lib_ebca.hosts.diffusers import encoded, energy_attention
from lib_ebca.hosts.patch import replaced
from lib_ebca.hosts.prompts import PromptEncoder
from lib_ebca.language.words import TokenisedPrompt

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


class Studio:
    """A pipeline that draws items by methods. Prompts are encoded once for all methods.

    Args:
        pipe: a text-to-image pipeline with the scheduler that is to be used.
        sampling: how to sample.
    """

    def __init__(self, pipe: Any, sampling: Sampling) -> None:
        self.pipe = pipe
        self.sampling = sampling
        self._encoder = _KeptEncoder(pipe)
        pipe.set_progress_bar_config(disable=True)

    def draw(self, batch: Sequence[Item], method: Method) -> Drawn:
        """One batch. The first latent of each picture depends on its prompt and its seed alone."""
        prompts = [item.prompt.text for item in batch]
        plans = [method.plan(item.prompt) for item in batch]
        clock = _Clock(self.pipe.unet.device)
        with ExitStack() as stack:
            stack.enter_context(
                replaced(lib_ebca.hosts.announcement, "PromptEncoder", lambda pipe, clip_skip: self._encoder)
            )
            stack.enter_context(installed(method.rules))
            active = any(plan.active for plan in plans)
            # Gradients are taken before the UNet's own evaluation: the clock runs before they do.
            stack.enter_context(clock.watching(self.pipe.unet))
            run = stack.enter_context(energy_attention(self.pipe, plans) if active else encoded(self.pipe))
            result = self.pipe(
                prompts,
                num_inference_steps=self.sampling.steps,
                guidance_scale=self.sampling.guidance,
                latents=self.noise(batch),
                output_type="pt",
            )
        if run.comments:
            raise RuntimeError(f"method {method.name!r}: {run.comments[0]}")
        gradients: dict[int, int] = {}
        for record in run.excited:
            gradients[record.step] = max(gradients.get(record.step, 0), record.evaluations)
        return Drawn(result.images.float(), clock.evaluations + sum(gradients.values()), clock.seconds())

    def noise(self, batch: Sequence[Item]) -> Tensor:
        """(B, 4, h, w): made on the CPU, so that every device starts from the same."""
        config = self.pipe.unet.config
        sample = config.sample_size
        height, width = (sample, sample) if isinstance(sample, int) else sample
        latents = [
            torch.randn(config.in_channels, height, width, generator=torch.Generator().manual_seed(item.noise_seed))
            for item in batch
        ]
        return torch.stack(latents).to(self.pipe.unet.device, self.pipe.unet.dtype)


class _KeptEncoder(PromptEncoder):
    """An encoder that also keeps the tokens; it is only used while the weights stand still."""

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        self._tokens: dict[str, TokenisedPrompt] = {}

    def tokenise(self, prompt: str) -> TokenisedPrompt:
        if prompt not in self._tokens:
            self._tokens[prompt] = super().tokenise(prompt)
        return self._tokens[prompt]


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
