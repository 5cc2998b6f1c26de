"""The published layer formulas in plain PyTorch, unoptimised on purpose: a peer for the benchmark and nothing else.

Our own transcription of the formulas, with the costs of the published implementation left in: every attention matrix is
stored in full, once over the tokens and once over the pixels; the update is also computed, and thrown away, for
self-attention and with step sizes of zero; |k|^2 is read off the diagonal of a T x T product; every editorial prompt
goes through all rows and through W_o.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor


class PublishedForm:
    """An attention processor that stands in every layer of a UNet and hands the contexts on from layer to layer.

    Args:
        gammas: gamma_attn and gamma_norm of the main context.
        edits: (B, T, D) each, the unconditional rows holding the unconditional embedding.
        strengths: signed alpha of each edit.
    """

    def __init__(self, gammas: tuple[float, float], edits: Sequence[Tensor], strengths: Sequence[float]) -> None:
        self._gammas, self._edits, self._strengths = gammas, tuple(edits), tuple(strengths)
        self._contexts: list[Tensor] | None = None

    def begin(self) -> None:
        """An evaluation of the UNet begins: the contexts are the prompts' embeddings again."""
        self._contexts = None

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, *_: Any, **__: Any
    ) -> Tensor:
        """One layer: (B, N, C_in), and (B, T, D) for cross-attention, to (B, N, C_out)."""
        if encoder_hidden_states is None:
            return _layer(attn, hidden_states, hidden_states, self._gammas)[0]
        if self._contexts is None:
            self._contexts = [encoder_hidden_states, *self._edits]
        total = 1 + sum(self._strengths)
        output: Tensor | None = None
        for index, share in enumerate((1.0, *self._strengths)):
            gammas = self._gammas if index == 0 else (0.0, 0.0)
            own, self._contexts[index] = _layer(attn, hidden_states, self._contexts[index], gammas)
            output = share / total * own if output is None else output + share / total * own
        assert output is not None
        return output


def _layer(attn: Attention, hidden: Tensor, context: Tensor, gammas: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Output of the layer, and the context after one step."""
    keys = attn.to_k(context)
    query, key, value = (attn.head_to_batch_dim(each) for each in (attn.to_q(hidden), keys, attn.to_v(context)))
    scores = attn.scale * query @ key.transpose(1, 2)
    output = attn.batch_to_head_dim(scores.softmax(-1) @ value)
    pull = attn.batch_to_head_dim(scores.transpose(1, 2).softmax(-1) @ query)
    norms = torch.diagonal(keys @ keys.transpose(1, 2), dim1=1, dim2=2)
    weights = norms.softmax(-1, dtype=torch.promote_types(norms.dtype, torch.float32)).to(keys.dtype)
    step = gammas[0] * pull - gammas[1] * weights[..., None] * keys
    return attn.to_out[1](attn.to_out[0](output)), context + step @ attn.to_k.weight
