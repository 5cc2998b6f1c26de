"""What following costs: two pictures, one of which follows the other, against the same two drawn by the stock UNet.

One evaluation inside every window, where the most is done; outside of them a follower is the stock's. Beside it the
published way: attention maps of all layers written out, and changed between their two products.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Following, Picture, Rows, Timetable, TokenFactors, Values
from lib_ebca.hosts.unet import cross_attention_layers, installed
from lib_ebca.methods.alignment import Alignment

from . import memory
from .architectures import TOKENS, Inputs, build, inputs, twin
from .counting import Count, count
from .machine import machine, versions
from .timing import Ratio, interleaved, paired

STOCK, WRITTEN_OUT = "stock", "written out"
WAYS = (STOCK, "replace", "refine", "concept", WRITTEN_OUT)
"""Two pictures as they are; swapped words; words put in; P2P-HRV; and the published way of "replace"."""

PUT_IN = (2, 3)
"""The tokens that were put in or, for "concept", swapped."""
_ROWS = Rows.guided(2)
_STEPS = 50


@dataclass(frozen=True)
class Cost:
    """One way of an evaluation.

    Attributes:
        name: one of :data:`WAYS`.
        seconds: median, by the wall clock; None where nothing was timed.
        ratio: of wall-clock time to the stock's.
        cpu_ratio: of the process' CPU time to the stock's; CPU only.
        peak_bytes: most memory above the weights.
        peak_ratio: that, over the stock's.
        count: arithmetic and calls.
        flops_ratio: arithmetic over the stock's.
    """

    name: str
    seconds: float | None
    ratio: Ratio | None
    cpu_ratio: Ratio | None
    peak_bytes: int
    peak_ratio: float
    count: Count
    flops_ratio: float


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
    results: tuple[Cost, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON will hold it."""
        return dataclasses.asdict(self)


def measure(
    arch: str,
    size: tuple[int, int],
    repeats: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[str], None] = lambda sentence: None,
) -> Report:
    """Evaluate the UNet over and over, each way once a round.

    Args:
        arch: one of :data:`~benchmarks.architectures.ARCHITECTURES`; the weights are random.
        size: height and width of the latents.
        repeats: rounds; 0 counts and measures memory, and times nothing.
        device: where it runs.
        dtype: of the weights.
        progress: is told what happens now.
    """
    unet = build(arch, device, dtype)
    given = inputs(unet, 2, size)
    with ExitStack() as stack:
        evaluates = [stack.enter_context(way(name, unet, given)) for name in WAYS]
        counts, peaks = [], []
        for name, evaluate in zip(WAYS, evaluates, strict=True):
            progress(f"{name}: warm-up, counts, memory")
            for _ in range(2):
                evaluate()
            counts.append(count(evaluate))
            peaks.append(memory.peak_bytes(evaluate, device))
        progress(f"timing {repeats} rounds of {len(evaluates)}")
        samples = interleaved(evaluates, repeats, 1, device) if repeats else [[] for _ in evaluates]
    walls, cpus = ([[getattr(each, clock) for each in own] for own in samples] for clock in ("wall", "cpu"))
    results = tuple(
        Cost(
            name,
            statistics.median(wall) if wall else None,
            paired(wall, walls[0]) if wall else None,
            paired(cpu, cpus[0]) if cpu and device.type == "cpu" else None,
            peak,
            peak / peaks[0],
            counted,
            counted.flops / counts[0].flops,
        )
        for name, wall, cpu, peak, counted in zip(WAYS, walls, cpus, peaks, counts, strict=True)
    )
    kind = str(dtype).removeprefix("torch.")
    return Report(arch, *size, repeats, kind, machine(device), versions(), results)


@contextmanager
def way(name: str, unet: UNet2DConditionModel, given: Inputs) -> Iterator[Callable[[], Tensor]]:
    """One evaluation of two guided pictures, on a model of its own over the same weights."""
    own = twin(unet)
    evaluate = partial(_evaluate, own, given)
    if name == STOCK:
        yield evaluate
        return
    if name == WRITTEN_OUT:
        own.set_attn_processor(_WrittenOut(given.sample.shape[-2] * given.sample.shape[-1] // 16))
        yield evaluate
        return
    cascade = _cascade(name, [layer.heads for _, layer in cross_attention_layers(own)])
    size = (given.sample.shape[-2], given.sample.shape[-1])

    def followed() -> Tensor:
        cascade.begin(_ROWS, size, 0)
        return evaluate()

    with installed(own, lambda: cascade, _refuse, following=True):
        yield followed


def _evaluate(unet: UNet2DConditionModel, given: Inputs) -> Tensor:
    with torch.no_grad():
        out: Tensor = unet(given.sample, 500, given.context, added_cond_kwargs=given.added, return_dict=False)[0]
    return out


def _cascade(name: str, heads: list[int]) -> Cascade:
    own = torch.zeros(TOKENS, dtype=torch.float64)
    route = torch.eye(TOKENS, dtype=torch.float64)
    if name == "refine":
        # What follows the words put in moves on by as many places.
        route = torch.eye(TOKENS, dtype=torch.float64).roll(len(PUT_IN), 1)
        own[list(PUT_IN)], route[:, list(PUT_IN)] = 1.0, 0.0
    concept = name == "concept"
    factors = (TokenFactors(PUT_IN, heads=tuple(torch.full((each,), 1.5) for each in heads)),) if concept else ()
    kept = PUT_IN if concept else ()
    following = Following(0, Alignment(route, own), (0.0, 1.0), (), (0.0, 1.0), kept=kept)
    pictures = [Picture(), Picture(factors=factors, following=following)]
    values: Mapping[bool, Values] = {True: Values(factors=(True,)), False: Values()}
    timetables = [Timetable((values[on],) * (_STEPS + 1)) for on in (False, concept)]
    return Cascade(pictures, timetables)


def _refuse(sentence: str) -> None:
    raise AssertionError(sentence)


class _WrittenOut:
    """Every map of every layer, as the published code has them; the follower's are put in the place of its own."""

    def __init__(self, largest_self: int) -> None:
        self.largest_self = largest_self
        self.mapper = torch.eye(TOKENS)

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Any = None, **_: Any) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(part) for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        maps = attn.get_attention_scores(query, key)
        rows = maps.unflatten(0, (-1, attn.heads))
        source = rows[-2]
        if encoder_hidden_states is not None:
            rows[-1] = torch.einsum("hpw,wn->hpn", source, self.mapper.to(source))
        elif hidden_states.shape[1] <= self.largest_self:
            rows[-1] = source
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(maps @ value)))
