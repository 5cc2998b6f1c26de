"""A ControlNet as the Forge family's samplers call it: asked before each call, its picture fitted to the rows."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Control:
    """One of a chain; what it adds depends on the latents, the words and its picture.

    Args:
        picture: (B, 1, H, W), of one picture or of as many as the batch has.
        previous: the one before it in the chain.
    """

    def __init__(self, picture: Tensor, previous: Control | None = None) -> None:
        self.cond_hint_original = picture
        self.cond_hint: Tensor | None = None
        self.previous_controlnet = previous
        self.transformer_options: dict[str, Any] = {}
        with torch.inference_mode():
            self.network = nn.Conv2d(5, 1, 3, padding=1)
            generator = torch.Generator().manual_seed(3)
            self.network.weight.copy_(torch.randn(self.network.weight.shape, generator=generator) * 0.3)
        self.asked: list[tuple[int, ...]] = []

    def get_control(self, x: Tensor, t: Tensor, cond: dict[str, Any], batched_number: int) -> dict[str, list[Any]]:
        before = None
        if self.previous_controlnet is not None:
            before = self.previous_controlnet.get_control(x, t, cond, batched_number)
        assert len(self.transformer_options["cond_or_uncond"]) == batched_number
        assert len(cond["c_crossattn"]) == len(x) == len(t)
        hint = F.interpolate(self.cond_hint_original, x.shape[2:]) if self.cond_hint is None else self.cond_hint
        self.cond_hint = hint if len(hint) == len(x) else hint[:1].expand(len(x), -1, -1, -1)
        self.asked.append(tuple(self.transformer_options["cond_or_uncond"]))
        scale = (t**2 + 1).sqrt().view(-1, 1, 1, 1)
        words = cond["c_crossattn"].mean((1, 2)).view(-1, 1, 1, 1)
        added = self.network(torch.cat([x / scale, self.cond_hint + words], 1))
        if before is not None:
            added = added + before["middle"][0]
        return {"input": [], "middle": [added], "output": [added * 0.1] * 99}


def controlled(states: Tensor, control: dict[str, list[Any]] | None, place: str) -> Tensor:
    """The states with what was answered for a place, which is used up; added where they lie, as the hosts do it."""
    if control is None or not control[place]:
        return states
    states += F.interpolate(control[place].pop(), states.shape[2:])
    return states
