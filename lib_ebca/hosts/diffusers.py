"""EBCA on diffusers: a context manager for any pipeline that has a ``UNet2DConditionModel``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from threading import get_ident
from typing import Any, cast
from weakref import ref

from diffusers import UNet2DConditionModel
from torch import Tensor

from lib_ebca.attention.adjoint import NotLinearError
from lib_ebca.attention.blending import blended_latents
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.concepts import vectors_for
from lib_ebca.attention.excitation import USUAL, Reading
from lib_ebca.attention.layer import prepare
from lib_ebca.attention.picture import Picture, Timetable
from lib_ebca.attention.record import Recorder
from lib_ebca.hosts.announcement import Announcement, announcing, encoding_of
from lib_ebca.hosts.carried import complete
from lib_ebca.hosts.clock import UNKNOWN, Clock, executed_steps
from lib_ebca.hosts.excite import Exciter
from lib_ebca.hosts.following import blending
from lib_ebca.hosts.lora import lora_scaled
from lib_ebca.hosts.patch import Life, replaced, shadow_of
from lib_ebca.hosts.run import HostError, Run
from lib_ebca.hosts.unet import (
    Arguments,
    announced,
    cross_attention_layers,
    has_compiled_blocks,
    installed,
    is_compiled,
    own_projections,
    uncompiled,
)
from lib_ebca.language.checks import shortened
from lib_ebca.language.plan import Plan
from lib_ebca.methods.head_vectors import HeadVectors

BLOCKS = (
    "The UNet's blocks were compiled one by one, and under a plan they run uncompiled: "
    "unet.compile() compiles the whole, which stays compiled."
)

__all__ = ["HostError", "Run", "encoded", "energy_attention", "executed_steps"]


@contextmanager
def energy_attention(
    pipe: Any,
    plan: Plan | Sequence[Plan],
    *,
    mask: Tensor | None = None,
    record_energies: bool = False,
    record_maps: bool = False,
    emphasis: bool = True,
    drift: bool = False,
    vectors: HeadVectors | None = None,
    reading: Reading = USUAL,
    as_webui: bool = False,
) -> Iterator[Run]:
    """Let a pipeline's calls inside the block follow a plan.

    Args:
        pipe: a diffusers pipeline with a ``UNet2DConditionModel``: SD 1, SD 2 or SDXL; text-to-image, image-to-image,
            inpainting, ControlNet. Afterwards it is as it was, also after an exception.
        plan: one plan for every prompt of a call, or one for each.
        mask: (H, W) or (pictures, H, W), in [0, 1] at any resolution: only where it is 1 does the picture pull at its
            words. Inpainting models with nine channels bring their own.
        record_energies: keep the energies of every layer.
        record_maps: keep the attention maps.
        emphasis: read ``(word:1.2)``, ``[word]`` and ``BREAK`` in prompts, and let prompts pass 75
            tokens, as the WebUI does; also while the plan does nothing.
        drift: keep the editorial contexts' changes from one evaluation to the next, as the published code does.
        as_webui: skip layers of the text encoder for negative prompts too, and leave prompts and negative prompts at
            their own lengths.
        vectors: head relevance vectors for the plans' concepts; None takes the published ones of SD 1 and SDXL.
        reading: how the subjects that a plan asks for are read off the model.

    Raises:
        HostError: no Plan was given, the pipeline has no such UNet, the number of plans does not fit the prompts of a
            call, or a plan follows a prompt that it cannot.
        VectorsError: there are no vectors for this UNet, they are another's, or do not know a concept.
        WordError: a boost, concept or subject names a word that its prompt does not hold.
        LevelError: subjects are to be read in layers that the model does not have.
    """
    run = Run()
    plans = _listed(plan)
    recording = record_energies or record_maps
    if not any(each.active for each in plans) and not recording:
        # What a prompt means does not hang on whether the plan acts.
        with _read(pipe, run, as_webui, leaving_plain=not as_webui) if emphasis else nullcontext():
            yield run
        return
    _refuse_nesting(pipe)
    unet = _unet(pipe)
    heads = [layer.heads for _, layer in cross_attention_layers(unet)]
    vectors = vectors_for(plans, heads, vectors)
    life = Life()
    conductor = _Conductor(pipe, unet, plans, run, mask, drift, (record_energies, record_maps), life)
    with ExitStack() as stack:
        if any(part.active for each in plans for part in each.excite):
            conductor.exciter = Exciter(pipe, unet, conductor.follow, reading)
            stack.enter_context(conductor.exciter.installed())
        announce = announcing(pipe, conductor.announce, plans, emphasis, run, vectors, as_webui)
        stack.callback(conductor.close)
        stack.enter_context(replaced(pipe, encoding_of(pipe), announce))
        if hasattr(pipe, "maybe_free_model_hooks"):
            stack.enter_context(replaced(pipe, "maybe_free_model_hooks", conductor.ending(pipe.maybe_free_model_hooks)))
        stack.enter_context(announced(pipe.unet, conductor.before))
        following = [each.follow for each in plans if each.follow is not None]
        stack.enter_context(installed(unet, lambda: conductor.cascade, run.tell, bool(following)))
        if any(follow.blend for follow in following):
            stack.enter_context(replaced(pipe.scheduler, "step", blending(pipe.scheduler.step, conductor.blend)))
        if has_compiled_blocks(pipe.unet):
            # A graph of one block serves them all, and each of our layers has a place of its own in the cascade.
            run.tell(BLOCKS)
            stack.enter_context(uncompiled())
        elif (recording or following) and is_compiled(pipe.unet):
            # What leaves the graph in every layer, records and rows' numbers: the pieces would take longer than they
            # save.
            stack.enter_context(uncompiled())
        yield run


@contextmanager
def encoded(pipe: Any) -> Iterator[Run]:
    """Let a pipeline read its prompts as the WebUI does (emphasis, BREAK, any length), its attention untouched."""
    run = Run()
    with _read(pipe, run):
        yield run


@contextmanager
def _read(pipe: Any, run: Run, as_webui: bool = False, leaving_plain: bool = False) -> Iterator[None]:
    try:
        name = encoding_of(pipe)
    except HostError:
        # What cannot be served is left as it is, and no plan asks for more.
        yield
        return
    reading = announcing(pipe, lambda _: None, (Plan(),), True, run, as_webui=as_webui, leaving_plain=leaving_plain)
    with replaced(pipe, name, reading):
        yield


class _Conductor:
    """Turns the pipeline's calls of the UNet into evaluations of a cascade."""

    def __init__(
        self,
        pipe: Any,
        unet: UNet2DConditionModel,
        plans: Sequence[Plan],
        run: Run,
        mask: Tensor | None,
        drift: bool,
        recorded: tuple[bool, bool],
        life: Life,
    ) -> None:
        self._life = ref(life)
        self._thread = 0
        self.cascade: Cascade | None = None
        self.exciter: Exciter | None = None
        self._pipe, self._plans, self._run, self._drift, self._recorded = pipe, plans, run, drift, recorded
        self._layers = len(cross_attention_layers(unet))
        # Where the UNet makes its layers' context of what it is given, that context is not known beforehand.
        known = getattr(unet, "encoder_hid_proj", None) is None
        self._compiled = unet if is_compiled(pipe.unet) and known else None
        self._mask = mask
        self._announced: Announcement | None = None
        self._pass: Cascade | None = None
        self._clock: Clock | None = None
        self._superseded: list[Tensor] = []

    def announce(self, announcement: Announcement) -> None:
        """A pipeline call has begun.

        Raises:
            HostError: a call in another thread has begun and not ended.
        """
        if self._life() is None:
            return
        others = {thread.ident for thread in threading.enumerate()} - {get_ident()}
        if self._announced is not None and self._thread in others:
            raise HostError("another thread is in a call of this pipeline: give each thread a pipeline of its own")
        if self._announced is not None and self._pass is None:
            self._superseded.append(self._announced.carried.contexts)
        announcement.carried.superseded = tuple(self._superseded)
        self._announced, self._pass, self._clock, self._thread = announcement, None, None, get_ident()

    def ending(self, found: Callable[..., Any]) -> Callable[..., Any]:
        """What pipelines call last, and then are in no call any more."""

        def maybe_free_model_hooks(*args: Any, **keywords: Any) -> Any:
            self.close()
            return found(*args, **keywords)

        return maybe_free_model_hooks

    def close(self) -> None:
        """The call, or the block, is over: the UNet is as it was for whoever calls it."""
        self.cascade = self._announced = self._pass = self._clock = None
        self._superseded = []

    def follow(self, cascade: Cascade | None) -> None:
        """What the UNet's layers are to follow while a gradient is taken."""
        self.cascade = cascade

    def before(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Arguments | None:
        """The UNet is about to run with these arguments, or else with those that are returned."""
        sample = args[0] if args else keywords["sample"]
        self.cascade = None
        if self._life() is None or (self._announced is not None and self._thread != get_ident()):
            return None
        if self._announced is None:
            self._run.tell("EBCA was not applied: the UNet was called outside a call of the pipeline.")
            return None
        given = args[2] if len(args) > 2 else keywords["encoder_hidden_states"]
        rows, sentence = self._announced.carried.rows(given)
        if sentence is not None:
            self._run.tell(sentence)
        if rows is None:
            return None
        clock = Clock(self._pipe) if self._clock is None else self._clock
        number = clock.number(args[1] if len(args) > 1 else keywords["timestep"])
        if number is None:
            self._run.tell(UNKNOWN)
            return None
        if self._pass is None:
            self._clock, self._pass = clock, self._start(self._announced, sample, clock.steps)
        moved = None
        new = number > self._pass.number and complete(rows, len(self._announced.pictures))
        if self.exciter is not None and new:
            moved = args, keywords = self.exciter.moved(number, rows, args, keywords)
        size = (sample.shape[-2], sample.shape[-1])
        self.cascade = self._pass
        if self._compiled is None:
            self.cascade.begin(rows, size, number)
            return moved
        self.cascade.begin(rows, size, number, given)
        scale = (keywords.get("cross_attention_kwargs") or {}).get("scale")
        # A layer that cannot be prepared tells of it when it runs.
        with suppress(NotLinearError), lora_scaled((self._compiled,), scale):
            prepare(own_projections(self._compiled), self.cascade, given)
        return moved

    def blend(self, latents: Tensor) -> Tensor:
        """A step's latents, with local blend for the pictures that follow others."""
        if self.cascade is None or self.cascade.follower is None:
            return latents
        if not self.cascade.follower.sums:
            self._run.tell("Local blend was left out: the UNet has no layer of a quarter of the latent's sides.")
        return blended_latents(self.cascade.follower, latents, self.cascade.number)

    def _start(self, announced: Announcement, sample: Tensor, steps: int) -> Cascade:
        if any(self._recorded):
            self._run.recorder = Recorder(*self._recorded)
        masks = self._masks(len(announced.pictures), sample)
        pictures = [replace(each, mask=mask) for each, mask in zip(announced.pictures, masks, strict=True)]
        tables = {plan: Timetable.of(plan, steps) for plan in announced.plans}
        # The last picture is nobody's: rows that are no prompt's.
        timetables = [*(tables[plan] for plan in announced.plans), Timetable.of(Plan(), steps)]
        if self.exciter is not None:
            self.exciter.begin(announced.subjects, steps, masks, self._run, self._recorded[1])
        return Cascade(
            [*pictures, Picture()],
            timetables,
            layers=self._layers,
            drift=self._drift,
            recorder=self._run.recorder,
            tell=self._run.tell,
        )

    def _masks(self, pictures: int, sample: Tensor) -> list[Tensor | None]:
        if self._mask is not None:
            masks = self._mask.expand(pictures, -1, -1) if self._mask.ndim == 2 else self._mask
            if masks.ndim != 3 or len(masks) != pictures:
                shape = tuple(self._mask.shape)
                raise HostError(
                    f"mask has shape {shape}: it should be (H, W), or (pictures, H, W) with {pictures} pictures"
                )
            return list(masks)
        if sample.shape[1] == 9:
            return list(sample[-pictures:, 4])
        return [None] * pictures


def _listed(plan: object) -> tuple[Plan, ...]:
    plans = tuple(plan) if isinstance(plan, Sequence) and not isinstance(plan, str) else (plan,)
    if not plans or not all(isinstance(each, Plan) for each in plans):
        raise HostError(
            f"plan is {shortened(repr(plan))}: it should be a Plan, or a list of Plans, one for each prompt of a call"
        )
    return cast("tuple[Plan, ...]", plans)


def _refuse_nesting(pipe: Any) -> None:
    shadow = shadow_of(vars(pipe).get("maybe_free_model_hooks"))
    if shadow is not None and not shadow.stranded:
        raise HostError(
            "the pipeline is under a plan already: merge the plans (`outer.merged(inner)`), end the outer block first, "
            "or give each thread a pipeline of its own"
        )


def _unet(pipe: Any) -> UNet2DConditionModel:
    unet = getattr(pipe, "unet", None)
    unet = getattr(unet, "_orig_mod", unet)
    if not isinstance(unet, UNet2DConditionModel):
        found = "it has no UNet" if unet is None else f"its UNet is a {type(unet).__name__}"
        raise HostError(
            f"{type(pipe).__name__} cannot be served: {found}, and it should be a Stable Diffusion 1, 2 or XL pipeline "
            "with a UNet2DConditionModel"
        )
    encoding_of(pipe)
    return unet
