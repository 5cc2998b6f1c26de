"""What an evaluation does, counted and not timed: arithmetic, attention calls, projections, kernels launched."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_backward_flop_count, sdpa_flop_count

_NO_KERNEL = ("empty", "new_empty", "_unsafe_view", "set_", "sym_")


@dataclass(frozen=True)
class Count:
    """One evaluation in numbers.

    Attributes:
        flops: floating-point operations of matrix products, convolutions and attention; a multiply-add is two.
        attention_calls: calls of ``scaled_dot_product_attention``.
        projections: calls of ``linear`` and of ``matmul``: the layers' projections, and BCU's way back to the context.
        launches: operations that are more than a new view of a tensor, each one kernel at least.
    """

    flops: int
    attention_calls: int
    projections: int
    launches: int

    def __add__(self, other: Count) -> Count:
        return Count(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Count) -> Count:
        return Count(*map(operator.sub, astuple(self), astuple(other)))


class UncountedError(RuntimeError):
    """An attention kernel ran that nobody has a formula for, so that the arithmetic would be reported too low."""


def count(evaluate: Callable[[], object]) -> Count:
    """Run ``evaluate`` once, eagerly, and count.

    Raises:
        UncountedError: see there.
    """
    calls, launches = _Calls(), _Launches()
    with FlopCounterMode(display=False, custom_mapping=_formulas()) as flops, calls, launches:
        evaluate()
    return Count(flops.get_total_flops(), calls.attention, calls.projections, launches.number)


def flops(evaluate: Callable[[], object]) -> int:
    """The arithmetic of ``evaluate`` alone, forward and back; on fake tensors too. Raises UncountedError."""
    with FlopCounterMode(display=False, custom_mapping=_formulas()) as counter, _Launches():
        evaluate()
    return int(counter.get_total_flops())


def _formulas() -> dict[Any, Any]:
    """The attention kernels that PyTorch's own table leaves out: those of the CPU."""

    def attention(query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    def backward(
        gradient: Sequence[int], query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: Any, **__: Any
    ) -> int:
        return int(sdpa_backward_flop_count(gradient, query, key, value))

    kernels = ("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_fused_attention_overrideable")
    packets = [getattr(torch.ops.aten, name) for name in kernels if hasattr(torch.ops.aten, name)]
    formulas: dict[Any, Any] = dict.fromkeys(packets, attention)
    if hasattr(torch.ops.aten, name := "_scaled_dot_product_flash_attention_for_cpu_backward"):
        formulas[getattr(torch.ops.aten, name)] = backward
    return {packet: formula for packet, formula in formulas.items() if packet not in flop_registry}


class _Calls(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.attention = self.projections = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            self.attention += 1
        elif func in (F.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__):
            self.projections += 1
        return func(*args, **(kwargs or {}))


class _Launches(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self._known = {*flop_registry, *_formulas()}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if "scaled_dot_product" in name and func.overloadpacket not in self._known:
            raise UncountedError(f"the arithmetic of {func.overloadpacket} is not known: add its formula")
        returned = func._schema.returns
        view = any(each.alias_info is not None and not each.alias_info.is_write for each in returned)
        answer = not any("Tensor" in str(each.type) for each in returned)
        if not view and not answer and not name.startswith(_NO_KERNEL):
            self.number += 1
        return func(*args, **(kwargs or {}))
