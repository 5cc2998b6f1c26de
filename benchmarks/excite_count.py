"""The arithmetic of subjects, counted on tensors that hold nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.excitation import Excitation
from lib_ebca.attention.subjects import Subjects
from lib_ebca.hosts.unet import installed, levels_of

from .architectures import ARCHITECTURES, TOKENS
from .counting import count
from .published_excite import Store

STEPS, ALTERED, MOST_REFINED = 50, 25, 60
"""A picture as published; the most refinements that it can ask for: 20 at three steps."""


@dataclass(frozen=True)
class Arithmetic:
    """Floating-point operations at one size; a multiply-add is two.

    Attributes:
        guided: an evaluation of a guided picture, two rows.
        gradient: our gradient of the latent.
        published_gradient: a whole evaluation of one row, and its way back.
    """

    guided: int
    gradient: int
    published_gradient: int

    @property
    def row(self) -> float:
        """One row of an evaluation, in which the others are told best."""
        return self.guided / 2

    @property
    def step(self) -> float:
        """An altered step over the stock's."""
        return 1 + self.gradient / self.guided

    @property
    def step_over_published(self) -> float:
        """An altered step over the published one: no less than 2 / 3.5, for the evaluation that follows is the same."""
        return (self.guided + self.gradient) / (self.guided + self.published_gradient)

    @property
    def refinement_over_published(self) -> float:
        """A refinement over the published one, which evaluates both rows once more and drops the result."""
        return self.gradient / (self.published_gradient + self.guided)

    def picture(self, refinements: int = 0) -> float:
        """50 steps of which 25 are altered, over the stock's."""
        return 1 + (ALTERED + refinements) * self.gradient / (STEPS * self.guided)

    def published_picture(self, refinements: int = 0) -> float:
        """The same as published, where the loss is computed in all 50 steps, by an evaluation of one row."""
        more = (STEPS - ALTERED) * self.row + ALTERED * self.published_gradient
        more += refinements * (self.published_gradient + self.guided)
        return 1 + more / (STEPS * self.guided)


def arithmetic(arch: str, size: tuple[int, int]) -> Arithmetic:
    """Count for an architecture of :data:`~benchmarks.architectures.ARCHITECTURES`, and latents of height and width."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**ARCHITECTURES[arch]).eval().requires_grad_(False)
    with torch.no_grad():
        guided = count(lambda: _evaluated(unet, _latents(2, size))).flops
    ours = count(lambda: _ours(unet, size)).flops
    unet.requires_grad_(True)
    store = Store()
    unet.set_attn_processor(store)
    return Arithmetic(guided, ours, count(lambda: _published(unet, store, size)).flops)


def _latents(rows: int, size: tuple[int, int], **asked: Any) -> Tensor:
    return torch.empty(rows, 4, *size, device="meta", **asked)


def _evaluated(unet: UNet2DConditionModel, sample: Tensor) -> Tensor:
    rows = sample.shape[0]
    with torch.device("meta"):
        context = torch.empty(rows, TOKENS, unet.config.cross_attention_dim)
        added = {"text_embeds": torch.empty(rows, 1280), "time_ids": torch.empty(rows, 6)}
        result: Tensor = unet(sample, torch.empty(rows), context, added_cond_kwargs=added).sample
    return result


def _ours(unet: UNet2DConditionModel, size: tuple[int, int]) -> None:
    leaf = _latents(1, size, requires_grad=True)
    excitation = Excitation([Subjects()], STEPS, levels_of(unet))

    def evaluate(latents: Tensor, rows: list[int], cascade: Cascade) -> None:
        # What the counter hooks into may not be the leaf itself: the network gets it times 1.
        with installed(unet, lambda: cascade, lambda sentence: None):
            _evaluated(unet, latents * 1)

    watcher = excitation.watched(leaf, [0], evaluate, 0)
    torch.autograd.grad(watcher.mean.sum(), leaf)


def _published(unet: UNet2DConditionModel, store: Store, size: tuple[int, int]) -> None:
    leaf = _latents(1, size, requires_grad=True)
    store.clear()
    _evaluated(unet, leaf * 1)
    level = Excitation([Subjects()], STEPS, levels_of(unet)).level
    pixels = ((size[0] - 1) // 2**level + 1) * ((size[1] - 1) // 2**level + 1)
    read = [each.sum() for each in store.cross if each.shape[1] == pixels]
    torch.autograd.grad(torch.stack(read).sum(), leaf)
    store.clear()
