"""The arithmetic and the memory of subjects, counted on tensors that hold nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch._subclasses import FakeTensorMode

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.excitation import Excitation
from lib_ebca.attention.subjects import Subjects
from lib_ebca.hosts.unet import installed, levels_of

from .architectures import ARCHITECTURES, TOKENS
from .counting import flops
from .memory import Held
from .published_excite import Store

STEPS, ALTERED, MOST_REFINED = 50, 25, 60
"""A picture as published; the most refinements that it can ask for: 20 at three steps."""


@dataclass(frozen=True)
class Work:
    """Floating-point operations, a multiply-add being two, and the most bytes held at once, weights left out."""

    flops: int
    peak_bytes: int


@dataclass(frozen=True)
class Counted:
    """One step of a guided picture at one size.

    Attributes:
        stock: its evaluation, two rows.
        excite: the gradient of one row up to the last layer that is read, and then that.
        checkpointed: the same with checkpointing.
        published: the gradient through a whole evaluation of one row, and then that.
    """

    stock: Work
    excite: Work
    checkpointed: Work
    published: Work

    @property
    def row(self) -> float:
        """The arithmetic of one row of an evaluation, in which gradients are told best."""
        return self.stock.flops / 2

    @property
    def gradient(self) -> int:
        """The arithmetic of one gradient of ours."""
        return self.excite.flops - self.stock.flops

    @property
    def published_gradient(self) -> int:
        """The arithmetic of one as published."""
        return self.published.flops - self.stock.flops

    @property
    def refinement_over_published(self) -> float:
        """A refinement over the published one, which evaluates both rows once more and drops the result."""
        return self.gradient / self.published.flops

    def picture(self, refinements: int = 0) -> float:
        """50 steps of which 25 are altered, over the stock's."""
        return 1 + (ALTERED + refinements) * self.gradient / (STEPS * self.stock.flops)

    def published_picture(self, refinements: int = 0) -> float:
        """The same as published, where the loss is computed in all 50 steps, by an evaluation of one row."""
        more = (STEPS - ALTERED) * self.row + ALTERED * self.published_gradient + refinements * self.published.flops
        return 1 + more / (STEPS * self.stock.flops)


def counted(arch: str, size: tuple[int, int], dtype: torch.dtype = torch.float32) -> Counted:
    """Count for an architecture of :data:`~benchmarks.architectures.ARCHITECTURES`, and latents of height and width."""
    with FakeTensorMode():
        unet = _empty(arch, dtype)

        def guided() -> None:
            with torch.no_grad():
                _evaluated(unet, _latents(unet, 2, size))

        def excited() -> None:
            _gradient(unet, size)
            guided()

        stock, excite = _work(guided), _work(excited)
        unet.enable_gradient_checkpointing()
        checkpointed = _work(excited)
        unet.disable_gradient_checkpointing()
        unet.requires_grad_(True)
        store = Store()
        unet.set_attn_processor(store)

        def published() -> None:
            # What holds the graph stays until the step is over: it is retained.
            kept = _published_gradient(unet, store, size)
            store.clear()
            guided()
            del kept
            store.clear()

        return Counted(stock, excite, checkpointed, _work(published))


def _empty(arch: str, dtype: torch.dtype) -> UNet2DConditionModel:
    unet = UNet2DConditionModel(**ARCHITECTURES[arch])
    # Fake weights cannot be converted in place.
    for module in unet.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(torch.empty_like(weight, dtype=dtype), requires_grad=False))
    return unet.eval()


def _work(run: Callable[[], None]) -> Work:
    arithmetic = flops(run)
    # Alone: what the other counters keep of every tensor would be counted.
    with Held() as held:
        run()
    return Work(arithmetic, held.peak)


def _latents(unet: UNet2DConditionModel, rows: int, size: tuple[int, int]) -> Tensor:
    return torch.empty(rows, 4, *size, dtype=unet.dtype)


def _evaluated(unet: UNet2DConditionModel, sample: Tensor) -> None:
    rows = sample.shape[0]
    context = torch.empty(rows, TOKENS, unet.config.cross_attention_dim, dtype=unet.dtype)
    added = {"text_embeds": torch.empty(rows, 1280, dtype=unet.dtype), "time_ids": torch.empty(rows, 6)}
    unet(sample, torch.empty(rows), context, added_cond_kwargs=added)


def _gradient(unet: UNet2DConditionModel, size: tuple[int, int]) -> None:
    leaf = _latents(unet, 1, size).requires_grad_()
    excitation = Excitation([Subjects()], STEPS, levels_of(unet))

    now: list[Cascade] = []

    def evaluate(latents: Tensor, rows: list[int], cascade: Cascade) -> None:
        now[:] = [cascade]
        # What the counter hooks into may not be the leaf itself: the network gets it times 1.
        _evaluated(unet, latents * 1)

    # Under checkpointing the layers run again on the way back.
    with installed(unet, lambda: now[0], lambda sentence: None):
        watcher = excitation.watched(leaf, [0], evaluate, 0)
        torch.autograd.grad(watcher.mean.sum(), leaf)


def _published_gradient(unet: UNet2DConditionModel, store: Store, size: tuple[int, int]) -> Tensor:
    leaf = _latents(unet, 1, size).requires_grad_()
    store.clear()
    _evaluated(unet, leaf * 1)
    level = Excitation([Subjects()], STEPS, levels_of(unet)).level
    height, width = ((side - 1) // 2**level + 1 for side in size)
    read = [each.sum() for each in store.cross if each.shape[1] == height * width]
    loss = torch.stack(read).sum()
    torch.autograd.grad(loss, leaf, retain_graph=True)
    return loss
