"""Attend-and-Excite on diffusers: the latent of a pipeline, moved before the UNet evaluates it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.excitation import Excitation, Reading
from lib_ebca.attention.picture import Rows
from lib_ebca.attention.subjects import Subjects, level_of
from lib_ebca.hosts.lora import lora_scaled
from lib_ebca.hosts.patch import frozen, replaced
from lib_ebca.hosts.run import Run
from lib_ebca.hosts.unet import Arguments, levels_of


class Exciter:
    """Stands between a pipeline and its scheduler, so that both go on with the latents that it has moved.

    The pipeline has them scaled by ``scale_model_input``, evaluated by the UNet and stepped by ``step``: the first
    tells what they are, the UNet gets other ones, and the last is given these.

    Args:
        pipe: the pipeline, whose scheduler is the one it will sample with.
        unet: its UNet.
        follow: takes the cascade that the UNet's layers are to follow from now on.
        reading: how subjects are read.

    Raises:
        LevelError: the UNet has no layers of the level that is to be read.
    """

    def __init__(
        self, pipe: Any, unet: UNet2DConditionModel, follow: Callable[[Cascade | None], None], reading: Reading
    ) -> None:
        self._scheduler, self._unet, self._follow, self._reading = pipe.scheduler, unet, follow, reading
        self._levels = levels_of(unet)
        level_of(self._levels, reading.level)
        self._excitation: Excitation | None = None
        self._scale = pipe.scheduler.scale_model_input
        self._step = pipe.scheduler.step
        self._seen: tuple[Tensor, Any] | None = None
        self._moved: Tensor | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to the scheduler for the length of the block; the UNet's weights need no gradients within it."""
        with ExitStack() as stack:
            stack.enter_context(replaced(self._scheduler, "scale_model_input", self._scaled))
            stack.enter_context(replaced(self._scheduler, "step", self._stepped))
            stack.enter_context(frozen(self._unet))
            yield

    def begin(
        self, subjects: Sequence[Subjects], steps: int, masks: Sequence[Tensor | None], run: Run, maps: bool
    ) -> None:
        """A pass of ``steps`` steps begins."""
        self._excitation = Excitation(
            subjects,
            steps,
            self._levels,
            # The WebUI lays step sizes out over what it announces, which is one more than DDIM evaluates.
            evaluations=getattr(self._scheduler, "announced_evaluations", None) or len(self._scheduler.timesteps),
            reading=self._reading,
            masks=masks,
            tell=run.tell,
            maps=maps,
        )
        self._moved = None
        run.excited = self._excitation.records

    def moved(self, number: int, rows: Rows, args: tuple[Any, ...], keywords: dict[str, Any]) -> Arguments:
        """The arguments of evaluation ``number`` of the UNet, with the latents moved if the plan asks for it."""
        # Between the two evaluations of a step the sampler's point is none of the pass.
        first = getattr(self._scheduler, "state_in_first_order", True)
        excitation = self._excitation
        if excitation is None or self._seen is None or not first or not excitation.wants(number):
            return args, keywords
        latents, timestep = self._seen
        sample = args[0] if args else keywords["sample"]
        if latents.shape[0] != sample.shape[0]:
            return args, keywords
        own = [rows.picture.index(picture) for picture in range(len(excitation.pictures))]
        conditional = _conditional(rows)
        beside = sample[:, latents.shape[1] :]
        others, lora = _without_scale(keywords)

        def evaluate(leaf: Tensor, pictures: list[int], cascade: Cascade) -> None:
            chosen = torch.tensor([conditional[picture] for picture in pictures], device=sample.device)
            scaled = self._scale(leaf, timestep).to(sample.dtype)
            entered = torch.cat([scaled, beside.index_select(0, chosen)], 1) if beside.shape[1] else scaled
            self._follow(cascade)
            picked = [_picked(each, chosen, sample.shape[0]) for each in args[1:]]
            named = {name: _picked(each, chosen, sample.shape[0]) for name, each in others.items() if name != "sample"}
            # Its hooks, ours among them, belong to the evaluation itself.
            self._unet.forward(entered, *picked, **named)

        # Older diffusers scale a LoRA back at the end of an evaluation alone, and these end before; and what is
        # checkpointed is evaluated again after it.
        with _checkpointed(self._unet, self._reading.checkpointing), lora_scaled([self._unet], lora):
            moved = excitation.altered(number, latents[own], evaluate)
        self._follow(None)
        self._moved = moved
        scaled = self._scale(moved[list(rows.picture)], timestep).to(sample.dtype)
        sample = torch.cat([scaled, beside], 1) if beside.shape[1] else scaled
        if args:
            return (sample, *args[1:]), keywords
        return args, {**keywords, "sample": sample}

    def _scaled(self, sample: Tensor, timestep: Any, *args: Any, **keywords: Any) -> Tensor:
        self._seen = sample, timestep
        scaled: Tensor = self._scale(sample, timestep, *args, **keywords)
        return scaled

    def _stepped(self, model_output: Tensor, timestep: Any, sample: Tensor, *args: Any, **keywords: Any) -> Any:
        moved, self._moved = self._moved, None
        if moved is not None and moved.shape == sample.shape:
            sample = moved
        return self._step(model_output, timestep, sample, *args, **keywords)


def _conditional(rows: Rows) -> list[int]:
    """The first conditional row of each picture."""
    found: dict[int, int] = {}
    for row, (picture, conditional) in enumerate(zip(rows.picture, rows.conditional, strict=True)):
        if conditional:
            found.setdefault(picture, row)
    return [found[picture] for picture in sorted(found)]


def _without_scale(keywords: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """The UNet's arguments without the scale of its LoRA, and that scale if there is one."""
    asked = keywords.get("cross_attention_kwargs")
    if not asked or "scale" not in asked:
        return keywords, None
    rest = {name: value for name, value in asked.items() if name != "scale"}
    return {**keywords, "cross_attention_kwargs": rest}, asked["scale"]


def _picked(value: Any, chosen: Tensor, batch: int) -> Any:
    """Some rows of whatever has one for each row of the batch."""
    if isinstance(value, Tensor):
        return value.index_select(0, chosen.to(value.device)) if value.ndim and value.shape[0] == batch else value
    if isinstance(value, Mapping):
        return {name: _picked(each, chosen, batch) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        picked: Sequence[Any] = [_picked(each, chosen, batch) for each in value]
        return type(value)(picked)
    return value


@contextmanager
def _checkpointed(unet: UNet2DConditionModel, wanted: bool) -> Iterator[None]:
    before = unet.is_gradient_checkpointing
    if not wanted or before:
        yield
        return
    unet.enable_gradient_checkpointing()
    try:
        yield
    finally:
        unet.disable_gradient_checkpointing()
