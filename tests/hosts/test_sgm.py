"""SDXL's cross-attention, sgm's: the numbers of ldm's, and what only sgm can be asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca.hosts import ldm
from lib_ebca.language.directives import parse
from tests.hosts import tiny_ldm, tiny_sgm
from tests.hosts.test_ldm import CONDITIONAL_FIRST, PLANS, assert_same, attending, cascade, inputs, run


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_sgm.unet()


def test_the_layers_are_found(model: Any) -> None:
    assert [name for name, _ in ldm.cross_attention_layers(model)] == [
        name for name, _ in ldm.cross_attention_layers(tiny_ldm.unet())
    ]


@pytest.mark.parametrize("text", PLANS.values(), ids=PLANS)
def test_sgm_gives_what_ldm_gives(model: Any, text: str) -> None:
    plan = parse(text).plan
    sample, context = inputs()
    with attending("sdp"):
        there = run(ldm, tiny_ldm.unet(), cascade(plan, mask=True), CONDITIONAL_FIRST, sample, context)
    here = run(ldm, model, cascade(plan, mask=True), CONDITIONAL_FIRST, sample, context)
    plain = model(sample, torch.full((4,), 20), context)
    assert_same(here, there)
    assert (here[0] - plain).abs().max() > 1e-3


def test_the_layer_stands_in_for_sgms_own_forward(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that acts needs no call of the forward: sgm's arguments, empty as they are, do not ask for it."""
    calls: list[Any] = []
    found = tiny_sgm.CrossAttention.forward

    def counted(self: Any, *args: Any, **keywords: Any) -> Tensor:
        calls.append(keywords.get("context"))
        return found(self, *args, **keywords)

    counted.__module__ = found.__module__
    monkeypatch.setattr(tiny_sgm.CrossAttention, "forward", counted)
    sample, context = inputs()
    run(ldm, model, cascade(parse(PLANS["bcu"]).plan), CONDITIONAL_FIRST, sample, context)
    assert len(calls) == 7
    assert all(each is None for each in calls)


def test_tokens_before_the_pixels_go_through_sgms_own_forward(model: Any) -> None:
    """Nobody's WebUI does this today; the layer must not drop what it was given."""
    name, layer = ldm.cross_attention_layers(model)[0]
    attending: Any = layer
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(4, 60, 32, generator=generator)
    before = torch.randn(4, 2, 32, generator=generator)
    _, context = inputs()
    plain = attending(x, context=context, additional_tokens=before)
    score = cascade(parse("<edit:x:0.5>").plan)
    score.begin(CONDITIONAL_FIRST, (10, 6), number=0)
    told: list[str] = []
    with torch.no_grad(), ldm.installed(model, lambda: score, told.append):
        made = attending(x, context=context, additional_tokens=before)
    edit = score.pictures[0].edits[0].expand(4, -1, -1)
    alone = attending(x, context=edit, additional_tokens=before)
    wanted = torch.cat([(plain[:2] + 0.5 * alone[:2]) / 1.5, plain[2:]])
    assert not told, name
    assert (made - wanted).abs().max() < 1e-5
