"""The price in exact numbers, no clock: the arithmetic, attention calls, projections and kernels that EBCA adds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
import torch

from benchmarks.architectures import TOKENS, build, inputs, twin
from benchmarks.counting import Count, count
from benchmarks.ways import SETTLED, WAYS, caller

HEIGHT, WIDTH = 16, 8
TEXT_WIDTH = 24
PIXELS = HEIGHT * WIDTH
LAYERS = (
    (PIXELS, 16),
    (PIXELS // 4, 32),
    (PIXELS // 4, 32),
    (PIXELS // 4, 32),
    (PIXELS // 4, 32),
    (PIXELS, 16),
    (PIXELS, 16),
)
"""Pixels and width of the tiny UNet's cross-attention layers: two down, one in the middle, four up."""
READ_ON = LAYERS[:-1]
"""Those whose update a later layer reads."""


@dataclass(frozen=True)
class Cost:
    """What a way adds for one picture: how often a layer attends, moves a context and makes keys and values, in rows.

    Attributes:
        attended: rows of editorial contexts that are attended to.
        moved: rows of contexts that are updated.
        made: rows whose keys and values are made anew, less those of the main context that need not be.
        projected: calls in which that is done, less those of the main context that need not be.
        launches: kernels in float32 and in bfloat16.
    """

    attended: int
    moved: int
    made: int
    projected: int
    launches: tuple[int, int]

    def flops(self, pictures: int) -> int:
        """By hand: attention is two products of N x T x C, the way back and each projection one of T x C x D."""
        added = sum(self.attended * 4 * n * TOKENS * c + self.made * 4 * TOKENS * c * TEXT_WIDTH for n, c in LAYERS)
        added += sum(self.moved * (4 * n * TOKENS * c + 2 * TOKENS * c * TEXT_WIDTH) for n, c in READ_ON)
        return pictures * added

    def attention_calls(self) -> int:
        """One for the edits of a layer together, one for each kind of context that moves."""
        return (len(LAYERS) if self.attended else 0) + len(READ_ON) * self.updates()

    def projections(self) -> int:
        """Keys and values of a layer's edits at once, and the way back to the context."""
        return 2 * len(LAYERS) * self.projected + len(READ_ON) * self.updates()

    def updates(self) -> int:
        """Calls in which contexts are updated, each for both sides of guidance."""
        return self.moved // 2


COSTS = {
    "off": Cost(0, 0, 0, 0, (0, 0)),
    "idle": Cost(0, 0, 0, 0, (0, 1)),
    "bcu": Cost(0, 2, 0, 0, (47, 61)),
    # The unconditional row reads its embedding as it was, once for all edits.
    "bcu+1": Cost(2, 2, 0, 0, (69, 91)),
    "bcu+2": Cost(3, 2, 0, 0, (83, 106)),
    "bcu+4": Cost(5, 2, 0, 0, (97, 122)),
    # Without BCU the main context's two rows are made once for the pass.
    "edit": Cost(1, 0, -2, -1, (-6, -4)),
    "2 edits": Cost(2, 0, -2, -1, (8, 11)),
    "moving edit": Cost(2, 2, 0, 0, (69, 91)),
    "bcu+moving": Cost(2, 4, 2, 1, (144, 186)),
    # Nothing is made or multiplied: the factors are in the values that are kept.
    "concept": Cost(0, 0, -2, -1, (-21, -20)),
    "bcu+concept": Cost(0, 2, 0, 0, (54, 75)),
}


@cache
def counted(name: str, pictures: int, dtype: torch.dtype) -> Count:
    """The third evaluation of a pass: what can be kept has been made."""
    unet = build("tiny", torch.device("cpu"), dtype)
    given = inputs(unet, pictures, (HEIGHT, WIDTH))
    own = twin(unet)
    with torch.no_grad(), WAYS[name].prepare(own, given, caller(own, None)) as evaluation:
        for _ in range(SETTLED):
            evaluation.run()
        return count(evaluation.run)


@pytest.mark.parametrize("pictures", [1, 2])
@pytest.mark.parametrize("name", COSTS)
def test_arithmetic_calls_and_projections_are_as_reckoned(name: str, pictures: int) -> None:
    stock, own = counted("stock", pictures, torch.float32), counted(name, pictures, torch.float32)
    assert stock.attention_calls == 2 * len(LAYERS)
    assert own.flops - stock.flops == COSTS[name].flops(pictures)
    assert own.attention_calls - stock.attention_calls == COSTS[name].attention_calls()
    assert own.projections - stock.projections == COSTS[name].projections()


@pytest.mark.parametrize("name", COSTS)
def test_no_kernel_more_than_known(name: str) -> None:
    added = []
    for dtype in (torch.float32, torch.bfloat16):
        added.append(counted(name, 1, dtype).launches - counted("stock", 1, dtype).launches)
    assert tuple(added) == COSTS[name].launches


def test_perturbed_attention_guidance_costs_half_an_evaluation() -> None:
    stock, own = counted("stock", 1, torch.float32), counted("pag", 1, torch.float32)
    assert 1.45 < own.flops / stock.flops < 1.5
