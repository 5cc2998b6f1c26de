"""Gradients through a network of the Forge family, which is written for inference alone.

Its weights were made in inference mode, which autograd refuses to keep, and so were those of other extensions. Its
blocks add to their states in place, and ControlNets to what is carried past them, after the layers that would have kept
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


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
    keeping = [module for module in model.modules() if isinstance(module, (nn.LayerNorm, nn.GroupNorm, nn.Conv2d))]
    hooks = [layer.register_forward_pre_hook(_apart) for layer in keeping]
    try:
        with torch.inference_mode(False):
            for table, name, value in found:
                table[name] = _alias(value)
        with _Aliased():
            yield
    finally:
        for table, name, value in found:
            table[name] = value
        for hook in hooks:
            hook.remove()


class _Aliased(TorchFunctionMode):
    """Tensors of inference mode, and weights that ask for gradients, take part as tensors of the same storage.

    They are those of other extensions, and what a host makes of its weights when it uses them: networks added on the
    fly, for instance.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        with torch.inference_mode(False):
            given = _each(args), {name: _each(value) for name, value in (kwargs or {}).items()}
        return function(*given[0], **given[1])


def _each(value: Any) -> Any:
    if type(value) in (nn.Parameter, Tensor):
        asks = isinstance(value, nn.Parameter) and value.requires_grad
        return _alias(value) if asks or value.is_inference() else value
    return type(value)(_each(each) for each in value) if type(value) in (tuple, list) else value


def _apart(layer: nn.Module, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (states[0].clone(), *states[1:])


def _alias(value: Tensor) -> Tensor:
    plain = torch.empty(0, dtype=value.dtype, device=value.device)
    plain.set_(value.untyped_storage(), value.storage_offset(), value.size(), value.stride())
    return nn.Parameter(plain, requires_grad=False) if isinstance(value, nn.Parameter) else plain
