"""Forge, reForge, Classic and Neo as hosts: their patcher, their marks, their way to call the model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Rows
from lib_ebca.hosts import forge
from lib_ebca.hosts.forge_control import controlled
from lib_ebca.hosts.forge_gradients import differentiable
from lib_ebca.hosts.forge_rows import MarkLedger

_ARGUMENTS = ("backend.args", "ldm_patched.modules.args_parser")
"""Where the hosts keep what they were started with."""


class ForgeHosting:
    """A host whose models carry ``forge_objects``."""

    adds_noise = True

    def __init__(self, model: Any) -> None:
        self._model = model

    @staticmethod
    def made(model: Any) -> bool:
        """Whether a model is one of these hosts'."""
        return hasattr(model, "forge_objects")

    @property
    def unet(self) -> nn.Module:
        """The network; its patcher may be another at each pass, and all of them share it."""
        unet = getattr(self._patcher.model, "diffusion_model", None)
        # Networks of other kinds may not be modules at all.
        return unet if isinstance(unet, nn.Module) else nn.Identity()

    def ledger(self, denoiser: Any, uncond: Any, cond: Any) -> Callable[[Tensor, Mapping[str, Any]], Rows | None]:
        """Rows are told from the marks that come with each call."""
        step = int(denoiser.step)
        conditional = [part.schedules for own in cond.batch for part in own]
        marks = MarkLedger([len(own) for own in cond.batch], (_length(uncond or [], step), _length(conditional, step)))
        return lambda context, keywords: marks.take(context, keywords.get("transformer_options") or {})

    def installed(
        self,
        current: Callable[[], Cascade | None],
        tell: Callable[[str], None],
        swapped: Callable[[], None],
    ) -> AbstractContextManager[None]:
        """Others' patches are taken over call by call, so that the patcher is never touched."""
        return forge.installed(self.unet, current, tell, particular=_upcasts(), swapped=swapped)

    def differentiable(self) -> AbstractContextManager[None]:
        """Done call by call, since the host may move weights within a pass."""
        return nullcontext()

    def scale(self, denoiser: Any, sigma: Tensor) -> Tensor | float:
        """k-diffusion's samplers have the latent times sqrt(sigma^2 + 1)."""
        if _counts_timesteps(denoiser):
            return 1.0
        return _input_scale(sigma)

    def predict(self, denoiser: Any, latents: Tensor, sigma: Tensor, rows: Any, image: Tensor) -> Tensor:
        """Through the patcher's model, with others' patches and ControlNets and without their wrappers."""
        timesteps = _counts_timesteps(denoiser)
        if timesteps:
            alphas = self._model.alphas_cumprod.to(latents.device, torch.float32)
            level = alphas[sigma.round().long().clamp(0, len(alphas) - 1)]
            sigma = ((1 - level) / level).sqrt()
            latents = latents / _input_scale(sigma).to(latents.dtype)
        options = dict(self._patcher.model_options.get("transformer_options") or {})
        options |= {"cond_or_uncond": [0], "sigmas": sigma, "cond_mark": torch.zeros_like(sigma)}
        options |= {"cond_indices": list(range(len(sigma))), "uncond_indices": []}
        keywords: dict[str, Any] = {"c_crossattn": rows}
        if isinstance(rows, dict):
            keywords = {"c_crossattn": rows["crossattn"], "y": rows["vector"]}
        if image.shape[-2:] == latents.shape[-2:]:
            keywords["c_concat"] = image
        keywords["transformer_options"] = options
        keywords |= controlled(self._patcher, latents, sigma, keywords)
        # These hosts make their weights in inference mode.
        with differentiable(self.unet) if torch.is_grad_enabled() else nullcontext():
            denoised: Tensor = self._patcher.model.apply_model(latents, sigma, **keywords)
        return (latents - denoised) / sigma.view(-1, 1, 1, 1) if timesteps else denoised

    @property
    def _patcher(self) -> Any:
        return self._model.forge_objects.unet


def _counts_timesteps(denoiser: Any) -> bool:
    return bool(getattr(denoiser, "classic_ddim_eps_estimation", False))


def _input_scale(sigma: Tensor) -> Tensor:
    return (1 / (sigma**2 + 1).sqrt()).view(-1, 1, 1, 1)


def _length(schedules: Sequence[Any], step: int) -> int:
    """The longest context of a step, to which the host brings those that it stacks; 0 if there is none."""
    longest = 0
    for schedule in schedules:
        entry = next((each for each in schedule if step <= each.end_at_step), schedule[0])
        cond = entry.cond["crossattn"] if isinstance(entry.cond, dict) else entry.cond
        longest = max(longest, int(cond.shape[0]))
    return longest


def _upcasts() -> bool:
    """Whether attention is computed in another type than its tensors'."""
    arguments = (getattr(sys.modules.get(name), "args", None) for name in _ARGUMENTS)
    return any(bool(getattr(each, "force_upcast_attention", False)) for each in arguments)
