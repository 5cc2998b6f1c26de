"""Key projections of the Forge family: weights that are streamed, cast, packed or patched when they are used.

The module is called for the keys, always; its weight is only read for the way back, where it shows what the module
computes, and otherwise the module is asked what it does to the unit vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lib_ebca.attention.adjoint import Adjoint, key_matrix

_WIDE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class KeyProjection(nn.Module):
    """A host's ``to_k`` for the length of a pass, with what was found out about it.

    Args:
        projection: the host's module, which does not become a child of this one.
    """

    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self._projection = (projection,)
        self._matrix: Tensor | None = None
        self._shows: bool | None = None

    @property
    def asked(self) -> nn.Module:
        """The host's module."""
        return self._projection[0]

    def forward(self, states: Tensor) -> Tensor:
        """The keys, (B, T, C), of (B, T, D)."""
        keys: Tensor = self._projection[0](states)
        return keys

    def adjoint(self, like: Tensor) -> Adjoint:
        """The adjoint of :meth:`forward`; nothing is kept beside the host's weight where that shows what is computed.

        Args:
            like: any tensor (..., D) as the module is called with.

        Raises:
            NotLinearError: by the adjoint, if the module is not affine.
        """

        def back(step: Tensor) -> Tensor:
            weight = self._shown(like)
            if weight is not None:
                return step @ weight.to(step.device, step.dtype)
            if self._matrix is None:
                self._matrix = key_matrix(self, like)
            return step @ self._matrix.to(step.dtype)

        return back

    def forget(self) -> None:
        """The module has other weights now."""
        self._matrix = self._shows = None

    def _shown(self, like: Tensor) -> Tensor | None:
        weight: Any = getattr(self._projection[0], "weight", None)
        if type(weight) not in (nn.Parameter, Tensor) or weight.ndim != 2 or weight.dtype not in _WIDE:
            return None
        if weight.shape[1] != like.shape[-1]:
            return None
        if self._shows is None:
            self._shows = self._computes(weight, like)
        return weight if self._shows else None

    def _computes(self, weight: Tensor, like: Tensor) -> bool:
        """Whether the module is the weight and nothing more: no scale, no network added on the fly."""
        with torch.no_grad():
            probe = torch.linspace(-1, 1, like.shape[-1], device=like.device, dtype=like.dtype)
            probes = torch.stack([probe, probe.roll(1) * probe, torch.zeros_like(probe)])[None]
            answer = self(probes).float()
            wanted = probes.float() @ weight.to(like.device).float().T
            reach = probes.float().abs() @ weight.to(like.device).float().abs().T
        # Rounding of the narrower of the two types; a scale or an added network is far beyond it.
        room = 4 * max(torch.finfo(each).eps for each in (like.dtype, weight.dtype, torch.float32))
        return bool(((answer - wanted).abs() <= room * reach.amax()).all())


def fingerprint(layers: Sequence[Any]) -> tuple[object, ...]:
    """Changes when a host puts other weights into the same modules: a refiner that is loaded over the first model.

    It also changes when weights are merely moved; what was made of them is then made again.
    """
    weights = [weight for layer in layers if isinstance(weight := getattr(layer.to_k, "weight", None), Tensor)]
    marks = [(weight.data_ptr(), 0 if weight.is_inference() else weight._version) for weight in weights]
    # Tensors of inference mode count no versions.
    sample = weights[0].flatten()[:16].float().tolist() if weights and weights[0].is_inference() else []
    return (*marks, *sample)
