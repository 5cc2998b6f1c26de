"""What ControlNets add to a call of the Forge family's network that is not the host's own.

The host asks the ControlNets of its patcher before each of its calls and hands the network what they answer. A call
that EBCA makes itself, for subjects or an inversion, would otherwise be of another network than the sampler's.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

_LISTED = "controlnet_linked_list"
_OF_A_CALL = ("transformer_options", "cond_hint")
"""What a ControlNet keeps of the call under way: the options, and its picture as it was fitted to the call's rows."""


def controlled(patcher: Any, latents: Tensor, sigma: Tensor, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords ``control`` of a call, or none where the pass has no ControlNet.

    What a ControlNet answers is taken as given: no gradient goes through it. It is left as it was found.

    Args:
        patcher: the pass's.
        latents: (B, C, H, W), as the patcher's model takes them.
        sigma: (B,), their noise levels.
        conditions: the call's own keywords, with ``c_crossattn`` and ``transformer_options``; all rows of one mark.
    """
    control = getattr(patcher, _LISTED, None)
    if control is None:
        return {}
    options = conditions["transformer_options"]
    # Some hosts hand the options over, some keep them with the ControlNet.
    more = (options,) if "transformer_options" in inspect.signature(control.get_control).parameters else ()
    with torch.no_grad(), _kept(control, options):
        return {"control": control.get_control(latents, sigma, dict(conditions), 1, *more)}


@contextmanager
def _kept(control: Any, options: Mapping[str, Any]) -> Iterator[None]:
    """Each ControlNet of a chain is told of this call; afterwards it is told what it was, with its fitted picture."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    while control is not None:
        attributes = vars(control)
        found.append((attributes, {name: attributes[name] for name in _OF_A_CALL if name in attributes}))
        attributes["transformer_options"] = options
        control = getattr(control, "previous_controlnet", None)
    try:
        yield
    finally:
        for attributes, before in found:
            for name in _OF_A_CALL:
                attributes.pop(name, None)
            attributes.update(before)
