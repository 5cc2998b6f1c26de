"""Forge's UNet under a plan: the same numbers as in diffusers, with whatever others put around its layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable
from lib_ebca.attention.record import Recorder
from lib_ebca.hosts import forge
from lib_ebca.hosts import unet as diffusers_host
from lib_ebca.language.directives import parse
from tests.hosts import tiny_forge, tiny_ldm
from tests.hosts.test_ldm import PLANS, TOKENS, assert_same, cascade, inputs, run

UNCONDITIONAL_FIRST = Rows((0, 1, 0, 1), (False, False, True, True))
HOSTS = {"forge": tiny_forge.FORGE, "reforge": tiny_forge.REFORGE}
INACTIVE = "<bcu:0:0> <edit:x:0>"


@pytest.fixture(scope="module")
def twin() -> Any:
    return tiny_ldm.twin(tiny_ldm.unet())


def called(unet: nn.Module, options: dict[str, Any] | None = None, seed: int = 1) -> Tensor:
    sample, context = inputs(seed)
    options = {} if options is None else options
    with torch.inference_mode():
        result: Tensor = unet(sample, torch.full((4,), 20.0), context=context, transformer_options=options)
    return result.clone()


def under(
    unet: nn.Module, score: Cascade | None, options: dict[str, Any] | None = None, rows: Rows = UNCONDITIONAL_FIRST
) -> tuple[Tensor, list[str]]:
    told: list[str] = []
    if score is not None:
        score.begin(rows, (10, 6), number=0)
    with forge.installed(unet, lambda: score, told.append):
        output = called(unet, options)
    assert clean(unet)
    return output, told


def clean(unet: nn.Module) -> bool:
    return not unet._forward_pre_hooks and not any("forward" in vars(module) for module in unet.modules())


@pytest.mark.parametrize("text", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("mask", [False, True], ids=["", "mask"])
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_the_same_as_in_diffusers(twin: Any, text: str, mask: bool, host: str) -> None:
    plan = parse(text).plan
    unet = tiny_forge.unet(host)
    sample, context = inputs()
    there, _ = run(diffusers_host, twin, cascade(plan, mask), UNCONDITIONAL_FIRST, sample, context)
    here, told = under(unet, cascade(plan, mask))
    assert not told
    assert_same([here], [there])
    assert (here - called(unet)).abs().max() > 1e-3


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_while_nothing_acts_and_afterwards_the_numbers_are_the_host_s_own(host: str) -> None:
    unet = tiny_forge.unet(host)
    plain = called(unet)
    assert torch.equal(under(unet, cascade(parse(INACTIVE).plan))[0], plain)
    assert torch.equal(under(unet, None)[0], plain)
    under(unet, cascade(parse(PLANS["everything"]).plan))
    assert torch.equal(called(unet), plain)


def shifting(x: Tensor, context: Tensor, value: Tensor, extra: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    assert extra["n_heads"] == 4 and "patches" not in extra
    return x + 0.1, context * 1.1, value * 0.9


def dimming(output: Tensor, extra: dict[str, Any]) -> Tensor:
    return output * 0.8


def averaging(query: Tensor, key: Tensor, value: Tensor, extra: dict[str, Any]) -> Tensor:
    assert extra["block"][0] in ("input", "middle", "output")
    return query * 0.1 + value.mean(1, keepdim=True)


def patched(*kinds: str) -> tiny_forge.Patcher:
    patcher = tiny_forge.Patcher(tiny_forge.Model(nn.Identity()))
    if "before" in kinds:
        patcher.patch("attn2_patch", shifting)
    if "after" in kinds:
        patcher.patch("attn2_output_patch", dimming)
    if "instead" in kinds:
        patcher.replace(("input", 1), averaging)
    if "instead of one" in kinds:
        patcher.replace(("output", 1, 0), averaging)
    patcher.patch("attn1_output_patch", dimming)
    patcher.replace(("middle", 0), averaging, "attn1")
    return patcher


KINDS = [
    ("before",),
    ("after",),
    ("instead",),
    ("instead of one",),
    ("before", "after", "instead", "instead of one"),
]


@pytest.mark.parametrize("kinds", KINDS, ids=" ".join)
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_others_patches_act_as_the_host_has_them_act(kinds: tuple[str, ...], host: str) -> None:
    unet = tiny_forge.unet(host)
    options = patched(*kinds).model_options["transformer_options"]
    inner = {name: dict(value) for name, value in options.items()}
    plain = called(unet, dict(options))
    assert not torch.equal(plain, called(unet))
    assert torch.equal(under(unet, cascade(parse(INACTIVE).plan), dict(options))[0], plain)
    acting, told = under(unet, cascade(parse(PLANS["everything"]).plan), dict(options))
    assert not told
    assert (acting - plain).abs().max() > 1e-3
    # The patcher's own dicts are as they were.
    assert {name: dict(options[name]) for name in inner} == inner
    assert torch.equal(called(unet, dict(options)), plain)


def test_a_replacement_reads_each_edit(twin: Any) -> None:
    """What replaces attention by attention changes nothing but rounding."""
    unet = tiny_forge.unet()
    plan = parse(PLANS["everything"]).plan

    def attending(query: Tensor, key: Tensor, value: Tensor, extra: dict[str, Any]) -> Tensor:
        heads = [each.unflatten(-1, (extra["n_heads"], -1)).transpose(1, 2) for each in (query, key, value)]
        return nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)

    patcher = tiny_forge.Patcher(tiny_forge.Model(unet))
    for block in (("input", 1), ("middle", 0), ("output", 2)):
        patcher.replace(block, attending)
    replaced, _ = under(unet, cascade(plan), dict(patcher.model_options["transformer_options"]))
    assert_same([replaced], [under(unet, cascade(plan))[0]])


def test_a_wrapper_that_calls_twice_with_one_dict_finds_its_patches_both_times() -> None:
    unet = tiny_forge.unet()
    options = dict(patched("before", "after").model_options["transformer_options"])
    score = cascade(parse(PLANS["bcu"]).plan)
    score.begin(UNCONDITIONAL_FIRST, (10, 6), number=0)
    with forge.installed(unet, lambda: score, lambda sentence: None):
        first, second = called(unet, options), called(unet, options)
    assert torch.equal(first, second)
    assert set(options["patches"]) == {"attn2_patch", "attn2_output_patch", "attn1_output_patch"}


def test_a_patch_with_rows_of_its_own_is_told_and_changes_nothing() -> None:
    unet = tiny_forge.unet()

    def by_region(x: Tensor, context: Tensor, value: Tensor, extra: Any) -> tuple[Tensor, Tensor, Tensor]:
        return torch.cat([x, x[2:]]), torch.cat([context, context[2:] * 0.5]), torch.cat([value, value[2:]])

    def merged(output: Tensor, extra: Any) -> Tensor:
        return torch.cat([output[:2], (output[2:4] + output[4:]) / 2])

    patcher = tiny_forge.Patcher(tiny_forge.Model(unet))
    patcher.patch("attn2_patch", by_region)
    patcher.patch("attn2_output_patch", merged)
    options = patcher.model_options["transformer_options"]
    plain = called(unet, dict(options))
    output, told = under(unet, cascade(parse(PLANS["everything"]).plan), dict(options))
    assert torch.equal(output, plain)
    assert set(told) == {
        "EBCA was not applied: another extension gives the layers rows of its own, as prompts by region do."
    }


def test_somebody_s_forward_on_the_instance_is_called_before_us_and_after_us() -> None:
    plan = parse(PLANS["everything"]).plan
    unet = tiny_forge.unet()
    layer: Any = unet.middle_block[1].transformer_blocks[0].attn2
    found = layer.forward
    calls: list[int] = []

    def theirs(x: Tensor, **keywords: Any) -> Tensor:
        calls.append(1)
        result: Tensor = found(x, **keywords) * 0.5
        return result

    alone, _ = under(unet, cascade(plan))
    layer.forward = theirs
    wrapped, told = under_with(unet, cascade(plan))
    assert calls and not told and (wrapped - alone).abs().max() > 1e-4
    assert vars(layer)["forward"] is theirs
    del layer.forward
    assert clean(unet)


def under_with(unet: nn.Module, score: Cascade) -> tuple[Tensor, list[str]]:
    told: list[str] = []
    score.begin(UNCONDITIONAL_FIRST, (10, 6), number=0)
    with forge.installed(unet, lambda: score, told.append):
        return called(unet), told


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(error: type[BaseException]) -> None:
    unet = tiny_forge.unet()

    def failing(*_: Any) -> Any:
        raise error

    options: dict[str, Any] = {"patches": {"attn2_output_patch": [failing]}}
    with pytest.raises(error):
        under(unet, cascade(parse(PLANS["bcu"]).plan), options)
    assert clean(unet)


def test_a_network_of_another_kind_is_let_alone() -> None:
    told: list[str] = []
    with forge.installed(nn.Sequential(nn.Linear(2, 2)), lambda: None, told.append):
        pass
    assert not told


def test_the_fused_form_and_the_wrapped_one_agree() -> None:
    unet = tiny_forge.unet()
    score = cascade(parse(PLANS["everything"]).plan)
    fused, _ = under(unet, score)
    score = cascade(parse(PLANS["everything"]).plan)
    score.begin(UNCONDITIONAL_FIRST, (10, 6), number=0)
    with forge.installed(unet, lambda: score, lambda sentence: None, particular=True):
        assert_same([called(unet)], [fused])


def test_a_repeated_context_counts_once() -> None:
    """The host brings a short context to a longer one's length by repeating it."""
    plan = parse(PLANS["everything"]).plan
    unet = tiny_forge.unet()
    sample, context = inputs()

    def once(copies: int) -> Tensor:
        score = cascade(plan)
        rows = Rows((0, 1, 0, 1), (False, False, True, True), (copies,) * 4 if copies > 1 else ())
        score.begin(rows, (10, 6), number=0)
        with forge.installed(unet, lambda: score, lambda sentence: None), torch.inference_mode():
            output: Tensor = unet(
                sample, torch.full((4,), 20.0), context=context.repeat(1, copies, 1), transformer_options={}
            )
        return output.clone()

    assert_same([once(2), once(3)], [once(1), once(1)])


@pytest.mark.parametrize("text", [INACTIVE, *PLANS.values()], ids=["inactive", *PLANS])
def test_records_of_a_repeated_context_are_those_of_diffusers(twin: Any, text: str) -> None:
    """Neither the maps of words nor the energies know of the copies."""
    plan = parse(text).plan
    sample, context = inputs()
    there, here = (cascade(plan) for _ in range(2))
    for score in (there, here):
        score.recorder = Recorder(energies=True, maps=True)
    run(diffusers_host, twin, there, UNCONDITIONAL_FIRST, sample, context)
    here.begin(Rows((0, 1, 0, 1), (False, False, True, True), (3,) * 4), (10, 6), number=0)
    unet = tiny_forge.unet()
    with forge.installed(unet, lambda: here, lambda sentence: None), torch.inference_mode():
        unet(sample, torch.full((4,), 20.0), context=context.repeat(1, 3, 1), transformer_options={})
    ours, theirs = here.recorder, there.recorder
    assert isinstance(ours, Recorder) and isinstance(theirs, Recorder)
    assert ours.maps.sizes == theirs.maps.sizes
    for picture in (0, 1):
        word = [recorder.maps.map(picture, (2, 3)) for recorder in (ours, theirs)]
        assert_same(word[:1], word[1:])
    for one, other in zip(ours.energies, theirs.energies, strict=True):
        for name in ("likelihood", "conditional", "prior"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5)


def test_the_cascade_is_asked_for_when_the_network_is_called() -> None:
    unet = tiny_forge.unet()
    plain = called(unet)
    score = cascade(parse(PLANS["bcu"]).plan)
    now: list[Cascade | None] = [None]
    with forge.installed(unet, lambda: now[0], lambda sentence: None):
        assert torch.equal(called(unet), plain)
        score.begin(UNCONDITIONAL_FIRST, (10, 6), number=0)
        now[0] = score
        assert not torch.equal(called(unet), plain)
        now[0] = None
        assert torch.equal(called(unet), plain)


def test_rows_that_do_not_fit_are_told_once_for_each_layer() -> None:
    unet = tiny_forge.unet()
    plain = called(unet)
    output, told = under(unet, cascade(parse(PLANS["bcu"]).plan), rows=Rows((0,), (True,)))
    assert torch.equal(output, plain)
    assert len(told) == 7 and all("4 rows arrived where 1 were announced" in each for each in told)


def test_a_picture_without_a_plan_is_the_host_s_beside_one_with_it() -> None:
    unet = tiny_forge.unet()
    plans = [parse(PLANS["everything"]).plan, parse("").plan]
    generator = torch.Generator().manual_seed(2)
    edits = tuple(torch.randn(TOKENS, tiny_ldm.CONTEXT, generator=generator) for _ in plans[0].edits)
    pictures = [Picture(edits, (1.0,) * TOKENS), Picture()]
    score = Cascade(pictures, [Timetable.of(plan, 3) for plan in plans])
    output, _ = under(unet, score)
    assert_same([output[[1, 3]]], [called(unet)[[1, 3]]])
    assert (output - called(unet))[[0, 2]].abs().max() > 1e-3
