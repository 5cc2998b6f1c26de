"""Stability's own UNet pays for a plan what diffusers' pays: arithmetic, calls, projections and kernels, counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from lib_ebca import Plan
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable
from lib_ebca.hosts import ldm
from lib_ebca.hosts import unet as diffusers_host
from lib_ebca.language.directives import parse
from tests.hosts import tiny_ldm

if TYPE_CHECKING:
    from benchmarks.counting import Count

counting = pytest.importorskip(
    "benchmarks.counting", reason="this torch keeps no list of formulas", exc_type=ImportError
)

HEIGHT, WIDTH, TOKENS, STEPS = 10, 6, 7, 8
PLANS = (
    "<bcu>",
    "<bcu> <edit:x:0.7> <edit:y:-0.5>",
    "<edit:x:0.7>",
    "<edit:x:0.7:attn=0.05:norm=0.02>",
)


@pytest.fixture(scope="module", autouse=True)
def sdp() -> Iterator[None]:
    """The fused kernel for the whole class, as the WebUI has it with --opt-sdp-attention."""
    kind = tiny_ldm.attention_class()
    before = kind.forward
    kind.forward = tiny_ldm.sdp
    yield
    kind.forward = before


@pytest.fixture(scope="module")
def models(sdp: None) -> tuple[Any, Any]:
    model = tiny_ldm.unet()
    return model, tiny_ldm.twin(model)


def evaluated(host: Any, unet: nn.Module, plan: Plan | None) -> Count:
    """The third evaluation of a pass: what can be kept has been made."""
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(2, 4, HEIGHT, WIDTH, generator=generator)
    context = torch.randn(2, TOKENS, tiny_ldm.CONTEXT, generator=generator)
    cascade = None
    if plan is not None:
        edits = tuple(torch.randn(TOKENS, tiny_ldm.CONTEXT, generator=generator) for _ in plan.edits)
        layers = len(host.cross_attention_layers(unet))
        cascade = Cascade([Picture(edits)], [Timetable.of(plan, STEPS)], layers=layers)

    def evaluate() -> None:
        if cascade is not None:
            cascade.begin(Rows.guided(1), (HEIGHT, WIDTH))
        unet(sample, torch.tensor([500, 500]), context)

    with torch.no_grad(), host.installed(unet, lambda: cascade, pytest.fail):
        evaluate()
        evaluate()
        return counting.count(evaluate)


@pytest.mark.parametrize("text", PLANS)
def test_a_plan_adds_what_it_adds_in_diffusers(models: tuple[Any, Any], text: str) -> None:
    model, twin = models
    plan = parse(text).plan
    added = evaluated(ldm, model, plan) - evaluated(ldm, model, None)
    in_diffusers = evaluated(diffusers_host, twin, plan) - evaluated(diffusers_host, twin, None)
    # diffusers' own layers divide their output by one, which the fused form leaves out: a kernel saved in each.
    assert added == in_diffusers + counting.Count(0, 0, 0, launches=len(ldm.cross_attention_layers(model)))


def test_a_plan_whose_time_has_not_come_adds_nothing(models: tuple[Any, Any]) -> None:
    idle = parse("<edit:x:0.7:from=0.9>").plan
    assert evaluated(ldm, models[0], idle) == evaluated(ldm, models[0], None)
