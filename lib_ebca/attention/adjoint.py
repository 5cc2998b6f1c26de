"""From the width of a layer back to the width of the text: g -> g W_k, for whatever ``to_k`` really is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Adjoint = Callable[[Tensor], Tensor]


class NotLinearError(TypeError):
    """The key projection is not a linear map, so that it has no adjoint."""


def adjoint(to_k: nn.Module, like: Tensor) -> Adjoint:
    """The adjoint of the linear part of ``to_k``: (..., C) to (..., D).

    A plain Linear is read off its weight at each call. Everything else (an unfused LoRA, a quantised layer, one half of
    fused projections, a host's patched Linear) is asked once what it does to the unit vectors: that needs no knowledge
    of its kind and gives exactly the matrix that makes the keys.

    Args:
        to_k: module that maps (B, T, D) to (B, T, C).
        like: any tensor (..., D) as the module is called with: its width, type and device.

    Raises:
        NotLinearError: ``to_k`` is not affine.
    """
    own = getattr(to_k, "adjoint", None)
    if own is not None:
        found: Adjoint = own(like)
        return found
    hooked = "forward" in vars(to_k) or to_k._forward_hooks or to_k._forward_pre_hooks
    # A quantised weight may be a tensor of its own kind inside an ordinary Linear.
    if type(to_k) is nn.Linear and type(to_k.weight) in (nn.Parameter, Tensor) and not hooked:
        return lambda step: step @ to_k.weight.to(step.dtype)
    matrix = key_matrix(to_k, like)
    return lambda step: step @ matrix.to(step.dtype)


def key_matrix(to_k: nn.Module, like: Tensor) -> Tensor:
    """W_k of an affine module as a Linear stores it, (C, D), found by applying the module to the unit vectors.

    Raises:
        NotLinearError: the module's answer to a probe differs from the matrix's by more than its precision explains.
    """
    width = like.shape[-1]
    units = torch.eye(width, device=like.device).to(like.dtype)[None]  # torch 2.1 makes no eye in bfloat16
    with torch.no_grad():
        offset = to_k(torch.zeros_like(units[:, :1]))
        rows = to_k(units) - offset
        probe = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype)[None, None]
        answer, weights = (to_k(probe) - offset).float(), probe.float()
        error = (answer - weights @ rows.float()).abs().amax()
        reach = (weights.abs() @ rows.float().abs()).amax() + offset.float().abs().amax()
        # The keys' type, since autocast may make it another than the context's; 1e-3 leaves room for TF32 and for
        # activations that are quantised on the fly.
        if not bool(error <= max(4 * torch.finfo(rows.dtype).eps, 1e-3) * reach):
            raise NotLinearError(
                f"{type(to_k).__name__} is not a linear map, so its step cannot be taken back to the context"
            )
    return rows[0].transpose(0, 1)
