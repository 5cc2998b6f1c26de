"""Gradients through a network of the Forge family, which is written for inference alone.

Its weights were made in inference mode, which autograd refuses to keep, and its blocks add to their states in place,
after the norms that would have kept them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def differentiable(model: nn.Module) -> Iterator[None]:
    """Within the block gradients go through the model, and none to its weights; no number is copied.

    The backward pass may come after the block. Each weight is stood in for by a tensor of its own storage; tensors of a
    kind of their own (packed weights) stay.
    """
    tables: list[dict[str, Any]] = [
        table for module in model.modules() for table in (module._parameters, module._buffers)
    ]
    found = [
        (table, name, value)
        for table in tables
        for name, value in table.items()
        if value is not None and type(value) in (nn.Parameter, Tensor) and (value.is_inference() or value.requires_grad)
    ]
    norms = [module for module in model.modules() if isinstance(module, (nn.LayerNorm, nn.GroupNorm))]
    hooks = [norm.register_forward_pre_hook(_apart) for norm in norms]
    try:
        with torch.inference_mode(False):
            for table, name, value in found:
                table[name] = _alias(value)
        yield
    finally:
        for table, name, value in found:
            table[name] = value
        for hook in hooks:
            hook.remove()


def _apart(norm: nn.Module, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (states[0].clone(), *states[1:])


def _alias(value: Tensor) -> Tensor:
    plain = torch.empty(0, dtype=value.dtype, device=value.device)
    plain.set_(value.untyped_storage(), value.storage_offset(), value.size(), value.stride())
    return nn.Parameter(plain, requires_grad=False) if isinstance(value, nn.Parameter) else plain
