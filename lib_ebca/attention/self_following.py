"""Self-attention that takes the map of another row: the source's queries and keys with the picture's own values."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.energy import split_heads
from lib_ebca.attention.following import self_reading
from lib_ebca.attention.layer import attended
from lib_ebca.attention.projections import Projections

SELF_LEFT_OUT = "The self-attention does not follow in layers whose attention another extension or processor computes."


def self_attention(
    layer: Projections, cascade: Cascade, hidden_states: Tensor, attend: Callable[[], Tensor], own: bool
) -> Tensor:
    """A host's self-attention layer under a cascade.

    Args:
        layer: the host's projections.
        cascade: begun; it knows who follows whom.
        hidden_states: (B, N, C_in).
        attend: the layer as it was found.
        own: whether ``attend`` is the host's plain attention.

    Returns:
        (B, N, C_out). While nobody follows this is ``attend()``, bit for bit.
    """
    now = cascade.following(hidden_states)
    if now is None or not now.selves or cascade.rows_count != hidden_states.shape[0]:
        return attend()
    reading = self_reading(now, hidden_states.shape[0], hidden_states.shape[1])
    if reading is None:
        return attend()
    if not own:
        cascade.tell(SELF_LEFT_OUT)
        return attend()
    # Queries and keys are made of the rows that anybody reads.
    read = sorted(set(reading))
    rows = hidden_states[torch.tensor(read, device=hidden_states.device)]
    again = torch.tensor([read.index(row) for row in reading], device=hidden_states.device)
    query, keys = layer.to_q(rows)[again], layer.to_k(rows)[again]
    return layer.to_out(attended(layer, split_heads(query, layer.heads), keys, layer.to_v(hidden_states)))
