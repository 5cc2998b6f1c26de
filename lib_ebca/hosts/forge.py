"""The UNet of Forge, reForge, Classic and Neo: the cascade's way into it for the length of a sampling pass.

Their layers lie where ldm's lie, and are called by a block that other extensions patch. A hook before the network takes
those patches over (:mod:`lib_ebca.hosts.forge_patches`) and shadows of the layers apply them. Everything is told from
what the objects have, never from a version, and nothing of a host is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lib_ebca.attention.adjoint import NotLinearError
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.layer import attention
from lib_ebca.attention.projections import Projections
from lib_ebca.hosts.forge_patches import ForeignRowsError, Taken, extra_options, taken_over
from lib_ebca.hosts.forge_weights import KeyProjection, fingerprint
from lib_ebca.hosts.ldm import cross_attention_layers
from lib_ebca.hosts.patch import replaced, somebodys

STOCK = ("backend.nn.unet", "ldm_patched.ldm.modules.attention")
"""Modules whose cross-attention forwards compute plain attention, so that the fused layer may stand in for them."""

_OPTIONS = "transformer_options"


@contextmanager
def installed(
    unet: nn.Module,
    current: Callable[[], Cascade | None],
    tell: Callable[[str], None],
    *,
    particular: bool = False,
    swapped: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Put a cascade into a network's cross-attention layers for the length of the block.

    Args:
        unet: the network; afterwards each of its attributes is the object that it was before.
        current: the cascade of the evaluation under way, known when the network is called, by a hook that was
            registered earlier; None lets the call be.
        tell: takes a sentence for the user if a layer cannot be served; such a layer passes through unchanged.
        particular: the host's attention is more than attention in the tensors' own type.
        swapped: called when other weights were found in the modules; ``current`` then gives a cascade begun anew, which
            keeps nothing that was made of the old ones.
    """
    layers = cross_attention_layers(unet)
    calls = _Calls([module for _, module in layers], current, swapped)
    with ExitStack() as stack:
        # The keyword came with torch 2.0.
        stack.callback(unet.register_forward_pre_hook(calls.before, with_kwargs=True).remove)
        for index, (name, module) in enumerate(layers):
            forward = _Layer(module, index, name, calls, tell, particular)
            stack.enter_context(replaced(module, "forward", forward.forward))
        yield


class _Calls:
    """What is known of the call under way."""

    def __init__(
        self, layers: Sequence[Any], current: Callable[[], Cascade | None], swapped: Callable[[], None]
    ) -> None:
        self.current, self._swapped, self._layers = current, swapped, layers
        self.taken: Taken | None = None
        self.keys: list[KeyProjection] = []
        self._fingerprint = fingerprint(layers)

    def before(
        self, unet: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The network is about to run (its forward pre-hook)."""
        self.taken = None
        if self.current() is None:
            return None
        # Gradients go through other tensors of the same weights.
        seen = self._fingerprint if torch.is_grad_enabled() else fingerprint(self._layers)
        if seen != self._fingerprint:
            self._fingerprint = seen
            for each in self.keys:
                each.forget()
            self._swapped()
        self.taken = taken_over(keywords.get(_OPTIONS) or {})
        return args, {**keywords, _OPTIONS: self.taken.options}


class _Layer:
    """One layer's shadow."""

    def __init__(
        self, module: Any, index: int, name: str, calls: _Calls, tell: Callable[[str], None], particular: bool
    ) -> None:
        keys = KeyProjection(module.to_k)
        calls.keys.append(keys)
        self._layer = Projections(index, name, module.to_q, keys, module.to_v, module.to_out, module.heads)
        self._module, self._name, self._calls, self._tell = module, name, calls, tell
        self._particular = particular
        self._theirs = somebodys(module, "forward")

    def forward(self, x: Tensor, context: Any = None, value: Any = None, mask: Any = None, **others: Any) -> Tensor:
        """The block calls its layer, or somebody's function that stands in front of us does."""
        cascade, taken = self._calls.current(), self._calls.taken
        if cascade is None or taken is None:
            return self._found(x, context, value, mask, others)
        extra = others.get(_OPTIONS) or extra_options(taken.options, self._module)

        def found(states: Tensor, read: Tensor, other: Tensor | None) -> Tensor:
            return self._found(states, read, value if other is None else other, mask, others)

        def attend(read: Tensor) -> Tensor:
            return taken.attended(self._module, x, read, found, extra)

        stock = getattr(type(self._module).forward, "__module__", None) in STOCK and not self._particular
        own = stock and self._theirs is None and mask is None and not taken.touches_block()
        # Values of another context than the keys' are not the prompt's alone.
        if isinstance(context, Tensor) and value is None:
            try:
                return attention(self._layer, cascade, x, context, attend, own)
            except ForeignRowsError as error:
                self._tell(f"EBCA was not applied: {error}.")
            except (ValueError, NotLinearError) as error:
                self._tell(f"EBCA was not applied in {self._name}: {error}.")
        return taken.untouched(self._module, x, context, found, extra)

    def _found(self, x: Tensor, context: Any, value: Any, mask: Any, others: dict[str, Any]) -> Tensor:
        # The class's forward is looked up at each call: a host may assign another one.
        found = self._theirs if self._theirs is not None else type(self._module).forward.__get__(self._module)
        given = {name: each for name, each in (("value", value), ("mask", mask)) if each is not None}
        output: Tensor = found(x, context=context, **given, **others)
        return output
