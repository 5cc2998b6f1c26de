"""The ways of evaluating one UNet that are compared: stock, EBCA at several plans, and two peers."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NoReturn

import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.pag.pag_utils import PAGMixin
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.layer import prepare as prepare_layers
from lib_ebca.attention.picture import Picture, Rows, Timetable, TokenFactors
from lib_ebca.hosts.diffusers import energy_attention
from lib_ebca.hosts.unet import cross_attention_layers, installed, own_projections
from lib_ebca.language.plan import Concept, ContextUpdate, Edit, Plan

from .architectures import Inputs
from .published_form import PublishedForm

STEPS, NOW = 50, 25
"""The evaluation that is measured lies in the middle of a pass of so many steps."""

SETTLED = 2
"""Evaluations until all is made that a pass keeps."""

_EDITS = tuple(Edit(f"edit {number}", strength) for number, strength in enumerate((0.75, -0.65, 0.5, -0.4), start=1))
_MOVING = (Edit("edit", 0.75, attn=6e-4, norm=6e-4),)
_BCU = ContextUpdate()


@dataclass
class Evaluation:
    """One way, ready to run.

    Attributes:
        run: one evaluation of the UNet.
        renew: forget what was kept from earlier evaluations, as at the start of a new pass.
    """

    run: Callable[[], Tensor]
    renew: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True)
class Call:
    """How a UNet is called: eagerly or compiled."""

    function: Callable[[Inputs], Tensor]
    compiled: bool = False

    def __call__(self, inputs: Inputs) -> Tensor:
        return self.function(inputs)


Prepare = Callable[[UNet2DConditionModel, Inputs, Call], Any]


@dataclass(frozen=True)
class Way:
    """A way of evaluating a UNet.

    Attributes:
        about: what it is, in a few words.
        prepare: context manager (UNet of its own, inputs, the call of the UNet) -> :class:`Evaluation`.
        peer: whether it is somebody else's method.
    """

    about: str
    prepare: Prepare
    peer: bool = False


@contextmanager
def _stock(unet: UNet2DConditionModel, inputs: Inputs, call: Call) -> Iterator[Evaluation]:
    yield Evaluation(lambda: call(inputs))


@contextmanager
def _off(unet: UNet2DConditionModel, inputs: Inputs, call: Call) -> Iterator[Evaluation]:
    with energy_attention(SimpleNamespace(unet=unet), Plan()):
        yield Evaluation(lambda: call(inputs))


def _cascaded(plan: Plan, number: int = NOW) -> Prepare:
    @contextmanager
    def prepare(unet: UNet2DConditionModel, inputs: Inputs, call: Call) -> Iterator[Evaluation]:
        pictures = inputs.sample.shape[0] // 2
        rows, size = Rows.guided(pictures), (inputs.sample.shape[-2], inputs.sample.shape[-1])
        edits, layers = inputs.edits[: len(plan.edits)], len(cross_attention_layers(unet))
        timetable = Timetable.of(plan, STEPS)
        heads = tuple(torch.linspace(0.2, 3, layer.heads) for _, layer in cross_attention_layers(unet))
        factors = tuple(TokenFactors((3, 4), heads=heads) for _ in plan.concepts)

        def fresh() -> Cascade:
            return Cascade([Picture(edits, factors=factors)] * pictures, [timetable] * pictures, layers=layers)

        now = SimpleNamespace(cascade=fresh())

        def run() -> Tensor:
            now.cascade.begin(rows, size, number, inputs.context if call.compiled else None)
            if call.compiled:
                prepare_layers(own_projections(unet), now.cascade, inputs.context)
            return call(inputs)

        def renew() -> None:
            now.cascade = fresh()

        with installed(unet, lambda: now.cascade, _refused):
            yield Evaluation(run, renew)

    return prepare


def _refused(sentence: str) -> NoReturn:
    raise RuntimeError(f"what would be measured is not what was meant: {sentence}")


@contextmanager
def _perturbed(unet: UNet2DConditionModel, inputs: Inputs, call: Call) -> Iterator[Evaluation]:
    host = PAGMixin()
    host.unet = unet
    host.set_pag_applied_layers("mid")
    before = unet.attn_processors
    host._set_pag_attn_processor(host.pag_applied_layers, do_classifier_free_guidance=True)
    more = inputs.with_perturbed_rows()
    try:
        yield Evaluation(lambda: call(more))
    finally:
        unet.set_attn_processor(before)


def _published(edits: int) -> Prepare:
    @contextmanager
    def prepare(unet: UNet2DConditionModel, inputs: Inputs, call: Call) -> Iterator[Evaluation]:
        unconditional = inputs.context[: inputs.context.shape[0] // 2]
        contexts = [torch.cat((unconditional, edit.expand_as(unconditional))) for edit in inputs.edits[:edits]]
        form = PublishedForm((_BCU.attn, _BCU.norm), contexts, [edit.strength for edit in _EDITS[:edits]])
        before = unet.attn_processors
        unet.set_attn_processor(form)

        def run() -> Tensor:
            form.begin()
            return call(inputs)

        try:
            yield Evaluation(run)
        finally:
            unet.set_attn_processor(before)

    return prepare


WAYS: Mapping[str, Way] = {
    "stock": Way("the UNet as it is", _stock),
    "off": Way("a plan that does nothing", _off),
    "idle": Way("an edit whose time has not come", _cascaded(Plan(edits=(Edit("edit", 0.75, start=0.9),)))),
    "bcu": Way("BCU", _cascaded(Plan(_BCU))),
    "bcu+1": Way("BCU and 1 edit", _cascaded(Plan(_BCU, _EDITS[:1]))),
    "bcu+2": Way("BCU and 2 edits", _cascaded(Plan(_BCU, _EDITS[:2]))),
    "bcu+4": Way("BCU and 4 edits", _cascaded(Plan(_BCU, _EDITS))),
    "edit": Way("1 edit", _cascaded(Plan(edits=_EDITS[:1]))),
    "2 edits": Way("2 edits", _cascaded(Plan(edits=_EDITS[:2]))),
    "moving edit": Way("1 edit with BCU on it", _cascaded(Plan(edits=_MOVING))),
    "bcu+moving": Way("BCU and 1 edit with BCU on it", _cascaded(Plan(_BCU, _MOVING))),
    "concept": Way(
        "a concept on a word of two tokens", _cascaded(Plan(concepts=(Concept("word", (("Color", 1.0),)),)))
    ),
    "bcu+concept": Way("BCU and a concept", _cascaded(Plan(_BCU, concepts=(Concept("word", (("Color", 1.0),)),)))),
    "pag": Way("diffusers' perturbed-attention guidance, mid block", _perturbed, peer=True),
    "published": Way("the published formulas, unoptimised: BCU", _published(0), peer=True),
    "published+2": Way("the published formulas, unoptimised: BCU and 2 edits", _published(2), peer=True),
}
"""By name; the first one is what the others are compared with."""


def caller(unet: UNet2DConditionModel, compiled: str | None) -> Call:
    """How the UNet is called: eagerly, or compiled in the given mode of ``torch.compile``."""

    def call(model: UNet2DConditionModel, inputs: Inputs) -> Tensor:
        return model(inputs.sample, 500, inputs.context, added_cond_kwargs=inputs.added, return_dict=False)[0]

    if compiled is None:
        return Call(lambda inputs: call(unet, inputs))
    # PyTorch keeps compiled graphs by code object: a copy for each way, so that no way is slowed by the others' guards.
    own = types.FunctionType(call.__code__.replace(), call.__globals__, closure=call.__closure__)
    graph = torch.compile(own, mode=compiled)
    return Call(lambda inputs: graph(unet, inputs), compiled=True)


def recorded(unet: UNet2DConditionModel, inputs: Inputs) -> tuple[Tensor, ...]:
    """What each cross-attention layer makes its queries of in one evaluation, (B, N, C) each."""
    states: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, args: states.append(args[0]))
        for _, module in cross_attention_layers(unet)
    ]
    caller(unet, None)(inputs)
    for hook in hooks:
        hook.remove()
    return tuple(states)


def layers_caller(unet: UNet2DConditionModel, states: Sequence[Tensor]) -> Call:
    """A call of the cross-attention layers alone, with recorded states; it answers with the last one's output."""
    modules = [module for _, module in cross_attention_layers(unet)]

    def call(inputs: Inputs) -> Tensor:
        outputs = (module(each, inputs.context) for module, each in zip(modules, states, strict=True))
        return deque(outputs, maxlen=1)[0]

    return Call(call)
