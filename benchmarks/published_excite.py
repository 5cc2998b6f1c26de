"""Attend-and-Excite as it was published, in plain PyTorch: a peer for the benchmark and nothing else.

Our own transcription of the procedure (Chefer et al., SIGGRAPH 2023), with the costs of the published code left in: all
attention is written out, every map of at most 32 x 32 pixels is kept, self-attention's too; the weights ask for
gradients; a graph of a whole evaluation is built in every step of the pass, altered or not. Refinement is left out.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor

from lib_ebca.attention.subjects import level_of
from lib_ebca.hosts.unet import levels_of
from lib_ebca.methods.attend_and_excite import losses, step_size, subject_scores

LARGEST_KEPT = 32 * 32
"""Pixels of the largest maps that are kept."""


class Store:
    """An attention processor for every layer: attention written out, its maps kept."""

    def __init__(self) -> None:
        self.cross: list[Tensor] = []
        self.itself: list[Tensor] = []

    def clear(self) -> None:
        """An evaluation of the UNet begins."""
        self.cross.clear()
        self.itself.clear()

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, *_: Any, **__: Any
    ) -> Tensor:
        """One layer: (B, N, C_in), and (B, T, D) for cross-attention, to (B, N, C_out)."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(part) for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        maps = attn.get_attention_scores(query, key)
        if maps.shape[1] <= LARGEST_KEPT:
            (self.itself if encoder_hidden_states is None else self.cross).append(maps)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(maps @ value)))


class PublishedExcite:
    """Draws pictures of a pipeline in the published way.

    Args:
        pipe: a diffusers pipeline of one text encoder, whose UNet is given up to this.
        tokens: the subjects' places among the prompt's tokens; the beginning of text is 0.
    """

    def __init__(self, pipe: Any, tokens: tuple[int, ...]) -> None:
        self._pipe, self._tokens, self._store = pipe, tokens, Store()
        self._level = level_of(levels_of(pipe.unet))
        pipe.unet.set_attn_processor(self._store)

    def draw(self, prompt: str, noise: Tensor, steps: int, altered: int, guidance: float) -> Tensor:
        """The latents (1, 4, h, w) after a pass of ``steps`` steps, the first ``altered`` of which move them."""
        pipe, scheduler = self._pipe, self._pipe.scheduler
        pipe.unet.requires_grad_(True)
        with torch.no_grad():
            cond, uncond = pipe.encode_prompt(prompt, noise.device, 1, True)[:2]
        both = torch.cat((uncond, cond))
        scheduler.set_timesteps(steps)
        latents = noise * scheduler.init_noise_sigma
        for number, timestep in enumerate(scheduler.timesteps):
            with torch.enable_grad():
                latents = latents.detach().requires_grad_()
                loss = self.loss(latents, timestep, cond)
                if number < altered:
                    (gradient,) = torch.autograd.grad(loss, latents, retain_graph=True)
                    latents = latents - step_size(20.0, number, steps) * gradient
            with torch.no_grad():
                self._store.clear()
                plain, asked = pipe.unet(torch.cat((latents, latents)), timestep, both).sample.chunk(2)
                latents = scheduler.step(plain + guidance * (asked - plain), timestep, latents).prev_sample
        self._store.clear()
        pipe.unet.requires_grad_(False)
        return latents.detach()

    def loss(self, latents: Tensor, timestep: Any, context: Tensor) -> Tensor:
        """The most neglected subject's loss, with the graph of a whole evaluation."""
        self._store.clear()
        self._pipe.unet(latents, timestep, context)
        height, width = ((side - 1) // 2**self._level + 1 for side in latents.shape[-2:])
        pixels = height * width
        maps = torch.cat([each for each in self._store.cross if each.shape[1] == pixels])
        mean = maps.float().mean(0)
        text = torch.ones(mean.shape[-1], dtype=torch.bool, device=mean.device)
        text[0] = text[-1] = False
        scores = subject_scores(mean, (height, width), text, [(token,) for token in self._tokens])
        return losses(scores).max()
