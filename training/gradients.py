"""Whether a compiled network learns as the plain one does: its gradients, held against those before it was compiled.

A compiler's forward pass may be right and its backward pass wrong. A training then goes on with losses that look well,
and unlearns what it knew. One step of each costs seconds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

LEAST_LIKENESS = 0.98


class WrongGradientsError(RuntimeError):
    """A compiled network's gradients are not those of the plain one."""


def gradient_of(module: nn.Module, loss: Callable[[], Tensor]) -> Tensor:
    """The gradient of a loss with respect to all of a module's parameters, one after the other, (P,), in float32."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(loss(), parameters, allow_unused=True)
    pairs = zip(found, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten().float() for g, p in pairs])


def refuse_other_gradient(plain: Tensor, compiled: Tensor) -> None:
    """Raises WrongGradientsError where two gradients (P,) of one loss do not point the same way."""
    likeness = float(torch.nn.functional.cosine_similarity(plain, compiled, dim=0))
    if not likeness >= LEAST_LIKENESS:
        raise WrongGradientsError(
            f"--compile: with torch {torch.__version__} the compiled network's gradient is not the plain one's (cosine "
            f"{likeness:.2f}): leave --compile out"
        )
