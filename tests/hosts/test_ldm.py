"""Stability's own UNet under a plan: the same numbers as in diffusers, whatever way of attending is switched on."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lib_ebca import Plan
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable
from lib_ebca.hosts import ldm
from lib_ebca.hosts import unet as diffusers_host
from lib_ebca.language.directives import parse
from tests.hosts import tiny_ldm

HEIGHT, WIDTH, TOKENS = 10, 6, 7
CONDITIONAL_FIRST = Rows((0, 1, 0, 1), (True, True, False, False))
PLANS = {
    "bcu": "<bcu:0.05:0.1>",
    "pull alone": "<bcu:0.05:0>",
    "paper prior": "<bcu:0.02:0.3:prior=paper>",
    "boosts": "<bcu:0.05:0.1> <boost:x:3>",
    "edit": "<edit:x:0.7>",
    "edit taken away": "<edit:x:-0.4>",
    "edits of both signs": "<edit:x:0.7:attn=0.05:norm=0.02> <edit:y:-0.5>",
    "everything": "<bcu:0.05:0.1> <edit:x:0.7:attn=0.05> <edit:y:-0.5:norm=0.1> <boost:x:2>",
}


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_ldm.unet()


@pytest.fixture(scope="module")
def twin(model: Any) -> Any:
    return tiny_ldm.twin(model)


@contextmanager
def attending(name: str) -> Iterator[None]:
    """What the WebUI does when this optimisation is chosen: another forward for the whole class."""
    kind = tiny_ldm.attention_class()
    before = kind.forward
    kind.forward = tiny_ldm.OPTIMISATIONS[name]
    try:
        yield
    finally:
        kind.forward = before


def layers_of(model: Any) -> list[tuple[str, Any]]:
    return [*ldm.cross_attention_layers(model)]


def inputs(seed: int = 1, channels: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn(4, channels, HEIGHT, WIDTH, generator=generator)
    return sample, torch.randn(4, TOKENS, tiny_ldm.CONTEXT, generator=generator)


def cascade(plan: Plan, mask: bool = False) -> Cascade:
    generator = torch.Generator().manual_seed(2)
    # The second editorial prompt is longer than the others.
    edits = tuple(torch.randn(TOKENS + 4 * i, tiny_ldm.CONTEXT, generator=generator) for i in range(len(plan.edits)))
    boosts = tuple(plan.boosts[0].factor if i in (2, 3) else 1.0 for i in range(TOKENS)) if plan.boosts else None
    masks = [torch.rand(5, 4, generator=generator) if mask else None for _ in range(2)]
    return Cascade([Picture(edits, boosts, each) for each in masks], [Timetable.of(plan, 3)] * 2)


def run(
    host: Any, unet: nn.Module, score: Cascade, rows: Rows, sample: Tensor, context: Tensor
) -> tuple[Tensor, Tensor]:
    """The noise prediction, and the main context as the last layer left it."""
    told: list[str] = []
    score.begin(rows, (sample.shape[-2], sample.shape[-1]), number=0)
    with torch.no_grad(), host.installed(unet, lambda: score, told.append):
        output = unet(sample, torch.full((len(sample),), 20), context)
    assert not told
    assert score.evaluation is not None
    return getattr(output, "sample", output), score.evaluation.main


def assert_same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() < 1e-5 * max(1.0, float(b.abs().max()))


def test_the_layers_are_found_in_the_order_in_which_they_run(model: Any) -> None:
    layers = layers_of(model)
    seen: list[str] = []
    handles = [
        module.register_forward_pre_hook(functools.partial(lambda name, *_: seen.append(name), name))
        for name, module in layers
    ]
    sample, context = inputs()
    model(sample, torch.full((4,), 20), context)
    for handle in handles:
        handle.remove()
    assert seen == [name for name, _ in layers]
    assert len(seen) == 7


def test_a_network_of_another_kind_has_no_layers() -> None:
    assert ldm.cross_attention_layers(nn.Sequential(nn.Linear(2, 2))) == []


@pytest.mark.parametrize("text", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])
def test_both_hosts_give_the_same(model: Any, twin: Any, text: str, mask: bool) -> None:
    plan = parse(text).plan
    sample, context = inputs()
    there = run(diffusers_host, twin, cascade(plan, mask), CONDITIONAL_FIRST, sample, context)
    with attending("sdp"):
        here = run(ldm, model, cascade(plan, mask), CONDITIONAL_FIRST, sample, context)
        plain = model(sample, torch.full((4,), 20), context)
    assert_same(here, there)
    assert (here[0] - plain).abs().max() > 1e-3


def test_both_hosts_give_the_same_for_a_model_that_inpaints() -> None:
    model = tiny_ldm.unet(in_channels=9)
    sample, context = inputs(channels=9)
    plan = parse(PLANS["everything"]).plan
    twin = tiny_ldm.twin(model, in_channels=9)
    there = run(diffusers_host, twin, cascade(plan, True), CONDITIONAL_FIRST, sample, context)
    assert_same(run(ldm, model, cascade(plan, True), CONDITIONAL_FIRST, sample, context), there)


def test_separate_calls_for_the_two_sides_give_the_same_as_one(model: Any) -> None:
    plan = parse(PLANS["everything"]).plan
    sample, context = inputs()
    together = run(ldm, model, cascade(plan, True), CONDITIONAL_FIRST, sample, context)
    score = cascade(plan, True)
    first = run(ldm, model, score, Rows((0, 1), (True, True)), sample[:2], context[:2])
    second = run(ldm, model, score, Rows((0, 1), (False, False)), sample[2:], context[2:])
    assert_same([torch.cat(parts) for parts in zip(first, second, strict=True)], together)


def test_rows_of_other_lengths_come_in_calls_of_their_own(model: Any) -> None:
    plan = parse(PLANS["everything"]).plan
    sample, context = inputs()
    longer = torch.cat([context[2:], context[2:].flip(1)], dim=1)
    score = cascade(plan)
    run(ldm, model, score, Rows((0, 1), (True, True)), sample[:2], context[:2])
    both = run(ldm, model, score, Rows((0, 1), (False, False)), sample[2:], longer)
    one = run(ldm, model, cascade(plan), Rows((1,), (False,)), sample[3:], longer[1:])
    assert_same([part[1:] for part in both], one)


@pytest.mark.parametrize("name", tiny_ldm.OPTIMISATIONS)
def test_every_optimisation_is_repeated_and_left_as_it_was(model: Any, name: str) -> None:
    plan = parse(PLANS["everything"]).plan
    sample, context = inputs()
    with attending("sdp"):
        wanted = run(ldm, model, cascade(plan, True), CONDITIONAL_FIRST, sample, context)
    with attending(name):
        plain = model(sample, torch.full((4,), 20), context)
        assert_same(run(ldm, model, cascade(plan, True), CONDITIONAL_FIRST, sample, context), wanted)
        assert torch.equal(model(sample, torch.full((4,), 20), context), plain)
    assert all("forward" not in vars(module) for module in model.modules())


@pytest.mark.parametrize("name", tiny_ldm.OPTIMISATIONS)
def test_wrapped_layers_give_the_same_as_fused_ones(model: Any, name: str) -> None:
    plan = parse(PLANS["everything"]).plan
    sample, context = inputs()
    fused = run(ldm, model, cascade(plan, True), CONDITIONAL_FIRST, sample, context)

    def theirs(self: Any, x: Tensor, context: Tensor | None = None, **keywords: Any) -> Tensor:
        return tiny_ldm.OPTIMISATIONS[name](self, x, context, **keywords)

    kind = tiny_ldm.attention_class()
    before, kind.forward = kind.forward, theirs
    try:
        assert not ldm._stock(kind.forward)
        assert_same(run(ldm, model, cascade(plan, True), CONDITIONAL_FIRST, sample, context), fused)
    finally:
        kind.forward = before


def test_an_optimisation_switched_during_the_pass_is_used_from_then_on(model: Any) -> None:
    calls: list[str] = []
    sample, context = inputs()
    score = cascade(parse("<bcu:0.05:0.1:from=0.9>").plan)
    kind = tiny_ldm.attention_class()
    before = kind.forward

    def later(self: Any, *args: Any, **keywords: Any) -> Tensor:
        calls.append("later")
        return before(self, *args, **keywords)

    with torch.no_grad(), ldm.installed(model, lambda: score, calls.append):
        kind.forward = later
        try:
            score.begin(CONDITIONAL_FIRST, (HEIGHT, WIDTH), number=0)
            model(sample, torch.full((4,), 20), context)
        finally:
            kind.forward = before
    assert calls == ["later"] * 14


def test_somebody_elses_forward_is_called_and_put_back(model: Any) -> None:
    _, module = layers_of(model)[2]
    original = module.forward
    calls: list[int] = []

    def theirs(*args: Any, **keywords: Any) -> Tensor:
        calls.append(1)
        return 2 * original(*args, **keywords)

    module.forward = theirs
    sample, context = inputs()
    try:
        run(ldm, model, cascade(parse(PLANS["everything"]).plan), CONDITIONAL_FIRST, sample, context)
        assert vars(module)["forward"] is theirs
        # Once for the main context and once for each edit; the unconditional rows go along with the first one.
        assert len(calls) == 3
    finally:
        del module.forward


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_after_an_error(model: Any, error: type[BaseException]) -> None:
    def fail(*_: Any) -> None:
        raise error("in the middle of the network")

    handle = model.output_blocks[1].register_forward_pre_hook(fail)
    sample, context = inputs()
    with pytest.raises(error):
        run(ldm, model, cascade(parse(PLANS["bcu"]).plan), CONDITIONAL_FIRST, sample, context)
    handle.remove()
    assert all("forward" not in vars(module) for module in model.modules())


def test_without_a_cascade_the_pictures_are_bit_identical(model: Any) -> None:
    sample, context = inputs()
    plain = model(sample, torch.full((4,), 20), context)
    with ldm.installed(model, lambda: None, pytest.fail):
        assert torch.equal(model(sample, torch.full((4,), 20), context), plain)


def test_a_plan_that_does_nothing_now_is_bit_identical(model: Any) -> None:
    sample, context = inputs()
    plain = model(sample, torch.full((4,), 20), context)
    score = cascade(parse("<bcu:0.05:0.1:from=0.9> <edit:x:0.5:from=0.9>").plan)
    output, _ = run(ldm, model, score, CONDITIONAL_FIRST, sample, context)
    assert torch.equal(output, plain)


def test_rows_that_were_not_announced_pass_through_and_are_told(model: Any) -> None:
    sample, context = inputs()
    told: list[str] = []
    score = cascade(parse(PLANS["bcu"]).plan)
    score.begin(Rows((0,), (True,)), (HEIGHT, WIDTH), number=0)
    plain = model(sample, torch.full((4,), 20), context)
    with ldm.installed(model, lambda: score, told.append):
        assert torch.equal(model(sample, torch.full((4,), 20), context), plain)
    assert "4 rows arrived where 1 were announced" in told[0]


def test_a_lora_that_is_added_on_the_fly_is_part_of_the_step(model: Any) -> None:
    """The host patches Linear.forward: what the layer computes is not what its weight shows."""
    plan = parse(PLANS["bcu"]).plan
    sample, context = inputs()
    generator = torch.Generator().manual_seed(5)
    added = {
        module.to_k: torch.randn(module.to_k.weight.shape, generator=generator) * 0.1 for _, module in layers_of(model)
    }
    merged = tiny_ldm.unet()
    for (_, there), (_, here) in zip(layers_of(merged), layers_of(model), strict=True):
        there.to_k.weight += added[here.to_k]
    wanted = run(ldm, merged, cascade(plan), CONDITIONAL_FIRST, sample, context)
    linear: Any = nn.Linear
    original = linear.forward

    def patched(self: Any, states: Tensor) -> Tensor:
        output = original(self, states)
        return output + states @ added[self].T if self in added else output

    score = cascade(plan)
    linear.forward = patched
    try:
        score.begin(CONDITIONAL_FIRST, (HEIGHT, WIDTH), number=0)
        with torch.no_grad(), ldm.installed(model, lambda: score, pytest.fail, ldm.Traits(unmerged=True)):
            output = model(sample, torch.full((4,), 20), context)
    finally:
        linear.forward = original
    assert score.evaluation is not None
    assert_same((output, score.evaluation.main), wanted)


def test_a_context_that_the_host_alters_goes_through_the_hosts_own_forward(model: Any) -> None:
    """Hypernetworks sit between the context and the keys; the fused layer does not know them."""
    kind = tiny_ldm.attention_class()
    before = kind.forward

    def with_hypernetwork(self: Any, x: Tensor, context: Tensor | None = None, **keywords: Any) -> Tensor:
        return tiny_ldm.plain(self, x, context if context is None else context + context.tanh(), **keywords)

    with_hypernetwork.__module__ = "modules.sd_hijack_optimizations"
    _, context = inputs()
    kind.forward = with_hypernetwork
    try:
        edit = cascade(parse("<edit:x:0.5>").plan)
        edit.begin(CONDITIONAL_FIRST, (HEIGHT, WIDTH), number=0)
        layer = layers_of(model)[0][1]
        states = torch.randn(4, HEIGHT * WIDTH, 32, generator=torch.Generator().manual_seed(3))
        with torch.no_grad(), ldm.installed(model, lambda: edit, pytest.fail, ldm.Traits(particular=True)):
            averaged = layer(states, context=context)
        wanted = layer(states, context=context)
        editorial = edit.pictures[0].edits[0].expand(4, -1, -1)
        wanted[:2] = (wanted[:2] + 0.5 * layer(states, context=editorial)[:2]) / 1.5
    finally:
        kind.forward = before
    assert torch.allclose(averaged, wanted, atol=1e-5)
