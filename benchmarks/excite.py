"""What subjects cost: an altered step and a picture, against stock and against the published way written out.

Everything goes through a pipeline around a UNet of a true architecture with random weights, and a text encoder of one
layer; latents are not decoded. Without refinement, so that every way does the same work whatever the weights. The
arithmetic and the memory are counted beside it without computing anything, for any architecture.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from lib_ebca.attention.excitation import Reading
from lib_ebca.hosts.diffusers import energy_attention
from lib_ebca.language.excite import Excite
from lib_ebca.language.plan import Plan
from lib_ebca.studio import loading
from lib_ebca.studio.recipe import Settings

from . import memory
from .architectures import TOKENS, build, twin
from .excite_count import Counted, counted
from .machine import machine, versions
from .published_excite import PublishedExcite
from .timing import Ratio, interleaved, paired

PROMPT, SUBJECTS, TOKEN_ROWS = "a circle and a star", ("circle", "star"), (2, 5)
STOCK, PUBLISHED = "stock", "published"
WAYS = (STOCK, "excite", "excite, checkpointing", PUBLISHED)
TIMED = ("sd15", "sd21", "tiny")
"""Architectures that a pipeline with one text encoder can be built around."""

GUIDANCE = 7.5


@dataclass(frozen=True)
class Cost:
    """One way of drawing so many steps.

    Attributes:
        name: one of :data:`WAYS`.
        steps: of the picture.
        altered: how many of them move the latent.
        seconds: median, by the wall clock.
        ratio: of wall-clock time to the stock's.
        cpu_ratio: of the process' CPU time to the stock's; CPU only.
        over_published: of CPU time, on a GPU of wall-clock time, to the published way's.
        peak_bytes: most memory above the weights, by the allocator of a GPU; elsewhere None.
    """

    name: str
    steps: int
    altered: int
    seconds: float
    ratio: Ratio
    cpu_ratio: Ratio | None
    over_published: Ratio
    peak_bytes: int | None


@dataclass(frozen=True)
class Report:
    """A measurement, with all that is needed to make it again."""

    arch: str
    height: int
    width: int
    repeats: int
    dtype: str
    machine: dict[str, Any]
    versions: dict[str, str]
    counted: Counted
    step: tuple[Cost, ...]
    picture: tuple[Cost, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON will hold it."""
        return dataclasses.asdict(self)


def measure(
    arch: str,
    size: tuple[int, int],
    repeats: int,
    picture_steps: int,
    picture_repeats: int,
    device: torch.device,
    dtype: torch.dtype,
    progress: Callable[[str], None] = lambda sentence: None,
) -> Report:
    """Count, and time where there is something to time.

    Args:
        arch: one of :data:`~benchmarks.architectures.ARCHITECTURES`.
        size: height and width of the latents.
        repeats: interleaved rounds of one altered step; 0 only counts.
        picture_steps: steps of a picture, of which the first half is altered.
        picture_repeats: interleaved rounds of a picture; 0 leaves it out.
        device: where it runs.
        dtype: of the weights.
        progress: is told what happens now.
    """
    work = counted(arch, size, dtype)
    step: tuple[Cost, ...] = ()
    picture: tuple[Cost, ...] = ()
    if repeats and arch in TIMED:
        pipe = pipeline(arch, size, device, dtype)
        progress("an altered step")
        step = _costs(pipe, size, 1, 1, repeats, device, progress)
        if picture_repeats:
            progress(f"a picture of {picture_steps} steps")
            picture = _costs(pipe, size, picture_steps, picture_steps // 2, picture_repeats, device, progress)
    kind = str(dtype).removeprefix("torch.")
    return Report(arch, *size, repeats, kind, machine(device), versions(), work, step, picture)


def pipeline(arch: str, size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> Any:
    """The model shapes' pipeline around another UNet, and a text encoder of that one's width."""
    base = loading.load(Settings(model="shapes", device=str(device))).pipe
    unet = build(arch, device, dtype)
    width = unet.config.cross_attention_dim
    config = type(base.text_encoder.config)(
        vocab_size=len(base.tokenizer),
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        eos_token_id=base.tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    text = type(base.text_encoder)(config)
    text.eval().to(device, dtype)
    parts = {**base.components, "unet": unet, "text_encoder": text, "vae": base.vae.to(dtype)}
    pipe = type(base)(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def way(name: str, pipe: Any, size: tuple[int, int], steps: int, altered: int) -> Iterator[Callable[[], Any]]:
    """A pass of one guided picture; it answers with its last latents."""
    own = type(pipe)(**{**pipe.components, "unet": twin(pipe.unet)}, requires_safety_checker=False)
    own.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, *size, generator=torch.Generator().manual_seed(0)).to(pipe.device, pipe.dtype)
    if name == PUBLISHED:
        yield partial(PublishedExcite(own, TOKEN_ROWS).draw, PROMPT, noise, steps, altered, GUIDANCE)
        return
    plan = Plan(excite=tuple(Excite(word, until=altered / steps, refine=False) for word in SUBJECTS))
    reading = Reading(checkpointing=name != "excite")

    def draw() -> Any:
        with nullcontext() if name == STOCK else energy_attention(own, plan, reading=reading):
            return own(
                PROMPT,
                latents=noise,
                height=size[0] * own.vae_scale_factor,
                width=size[1] * own.vae_scale_factor,
                num_inference_steps=steps,
                guidance_scale=GUIDANCE,
                output_type="latent",
            ).images

    yield draw


def _costs(
    pipe: Any,
    size: tuple[int, int],
    steps: int,
    altered: int,
    repeats: int,
    device: torch.device,
    progress: Callable[[str], None],
) -> tuple[Cost, ...]:
    with ExitStack() as stack:
        draws = [stack.enter_context(way(name, pipe, size, steps, altered)) for name in WAYS]
        peaks: list[int | None] = [None] * len(WAYS)
        for place, (name, draw) in enumerate(zip(WAYS, draws, strict=True)):
            progress(f"{name}: warm-up")
            if device.type == "cuda":
                draw()
                peaks[place] = memory.peak_bytes(draw, device)
        progress(f"timing {repeats} rounds of {len(draws)}")
        samples = interleaved(draws, repeats, 1, device)
    walls, cpus = ([[getattr(each, clock) for each in own] for own in samples] for clock in ("wall", "cpu"))
    on_cpu = device.type == "cpu"
    clock = cpus if on_cpu else walls
    return tuple(
        Cost(
            name,
            steps,
            altered,
            statistics.median(wall),
            paired(wall, walls[0]),
            paired(cpu, cpus[0]) if on_cpu else None,
            paired(own, clock[-1]),
            peak,
        )
        for name, wall, cpu, own, peak in zip(WAYS, walls, cpus, clock, peaks, strict=True)
    )
