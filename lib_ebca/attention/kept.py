"""How what is kept is known to be out of date: by the versions of what it was made of."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

_ADAPTERS = ("scaling", "_active_adapter", "_disable_adapters", "merged_adapters", "network_current_names")
"""Where PEFT's layers, and those of the WebUI, say which LoRA are on and how strongly."""

Stamp = tuple[object, ...]


def stamp(tensor: Tensor) -> Stamp | None:
    """What changes whenever the tensor does; None where that cannot be known, so that nothing may be kept.

    A change through ``tensor.data`` is told by nothing.
    """
    if tensor.is_inference():
        return None
    if tensor.untyped_storage().device.type == "meta":
        # Weights that are brought in layer by layer, another placeholder each time; or fake ones, which have a device
        # and no memory on it.
        return ()
    return id(tensor), tensor.data_ptr(), tensor._version


def made_of(modules: Iterable[nn.Module]) -> Stamp:
    """What changes whenever one of the modules computes something else.

    Weights of inference mode count no versions: another tensor in their place is seen, a change in place is not.
    """
    found: list[object] = []
    for module in modules:
        if type(module) is nn.Linear:
            tensors: list[Tensor] = [module.weight] if module.bias is None else [module.weight, module.bias]
        else:
            tensors = [*module.parameters(), *module.buffers()]
            for part in module.modules():
                found += [str(vars(part)[name]) for name in _ADAPTERS if name in vars(part)]
        found.append(id(module))
        for tensor in tensors:
            now = stamp(tensor)
            found.append((id(tensor), tensor.data_ptr()) if now is None else now)
    return tuple(found)
