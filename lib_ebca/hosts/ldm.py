"""The UNet of ldm (SD 1, SD 2) and sgm (SDXL): its cross-attention layers in their order, the cascade's way into them.

The modules are known by their shape, not by their import, so that this file needs neither package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lib_ebca.attention.adjoint import NotLinearError
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.layer import attention
from lib_ebca.attention.projections import Projections
from lib_ebca.hosts.patch import replaced, somebodys

STOCK = (
    "ldm.modules.attention",
    "sgm.modules.attention",
    "modules.sd_hijack_optimizations",
    "modules.hypernetworks.hypernetwork",
)
"""Modules whose cross-attention forwards all compute plain attention, so that the fused layer may stand in for them."""

_PARTS = ("input_blocks", "middle_block", "output_blocks")
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out", "heads")


@dataclass(frozen=True)
class Traits:
    """What a host does inside its cross-attention besides attending, for the length of a pass.

    Attributes:
        unmerged: the projections compute more than their weights show (a LoRA that is added on the fly).
        particular: more happens between the context and the output than plain attention in the tensors' own type
            (hypernetworks, upcasting), so that the host's forward has to be called.
    """

    unmerged: bool = False
    particular: bool = False


def cross_attention_layers(unet: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that read the prompt, with their names, in the order in which the UNet runs them.

    Empty for a network that is not built like ldm's UNetModel.
    """
    return [
        (f"{part}.{name}", module)
        for part in _PARTS
        for name, module in getattr(unet, part, nn.Module()).named_modules()
        if name.rpartition(".")[2] == "attn2" and all(hasattr(module, each) for each in _PROJECTIONS)
    ]


def levels_of(unet: nn.Module) -> list[int]:
    """How often the latent's sides are halved in each of :func:`cross_attention_layers`."""
    level = 0
    levels: dict[tuple[str, int | None], int] = {}
    for part in _PARTS:
        blocks = getattr(unet, part, nn.Module())
        # The middle is one block, the others are lists of them.
        for number, block in enumerate([blocks] if part == "middle_block" else blocks.children()):
            kinds = {type(module).__name__ for module in block.modules()}
            level += "Downsample" in kinds and part == "input_blocks"
            levels[part, None if part == "middle_block" else number] = level
            level -= "Upsample" in kinds and part == "output_blocks"
    found = []
    for name, _ in cross_attention_layers(unet):
        part, block = name.split(".")[:2]
        found.append(levels[part, None if part == "middle_block" else int(block)])
    return found


@contextmanager
def unchecked(unet: nn.Module) -> Iterator[None]:
    """Without the checkpointing that sgm's configurations ask for: within it nothing has a gradient on the way."""
    with ExitStack() as stack:
        for module in unet.modules():
            for name in ("checkpoint", "use_checkpoint"):
                if vars(module).get(name) is True:
                    stack.enter_context(replaced(module, name, False))
        yield


@contextmanager
def installed(
    unet: nn.Module,
    current: Callable[[], Cascade | None],
    tell: Callable[[str], None],
    traits: Traits = Traits(),
) -> Iterator[None]:
    """Put a cascade into a UNet's cross-attention layers for the length of the block.

    Args:
        unet: the model; afterwards each of its attributes is the object that it was before.
        current: the cascade of the evaluation under way; None lets the layers work as they are.
        tell: takes a sentence for the user if a layer cannot be served; such a layer passes through unchanged.
        traits: what the host does besides attending.
    """
    with ExitStack() as stack:
        for index, (name, module) in enumerate(cross_attention_layers(unet)):
            stack.enter_context(replaced(module, "forward", _forward(module, index, name, current, tell, traits)))
        yield


class _Asked(nn.Module):
    """A projection that is asked what it computes, because its weight does not show it."""

    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        # Past nn.Module, so that the host's module does not become a child of ours.
        object.__setattr__(self, "asked", projection)

    def forward(self, states: Tensor) -> Tensor:
        return vars(self)["asked"](states)


def _forward(
    module: Any,
    index: int,
    name: str,
    current: Callable[[], Cascade | None],
    tell: Callable[[str], None],
    traits: Traits,
) -> Callable[..., Tensor]:
    layer = Projections(
        index,
        name,
        to_q=module.to_q,
        to_k=_Asked(module.to_k) if traits.unmerged else module.to_k,
        to_v=module.to_v,
        to_out=module.to_out,
        heads=module.heads,
        scale=getattr(module, "scale", None),
    )
    theirs = somebodys(module, "forward")

    def found(*args: Any, **keywords: Any) -> Tensor:
        # The class's forward is looked up at each call: the host assigns another one when its optimisation changes.
        return theirs(*args, **keywords) if theirs is not None else type(module).forward(module, *args, **keywords)

    def forward(x: Tensor, context: Any = None, *args: Any, **keywords: Any) -> Tensor:
        cascade = current()
        if cascade is None or not isinstance(context, Tensor):
            return found(x, context, *args, **keywords)

        def attend(read: Tensor) -> Tensor:
            return found(x, read, *args, **keywords)

        asked = any(each is not None for each in (*args, *keywords.values()))
        own = theirs is None and not asked and not traits.particular and _stock(type(module).forward)
        try:
            return attention(layer, cascade, x, context, attend, own)
        except (ValueError, NotLinearError) as error:
            tell(f"EBCA was not applied in {name}: {error}.")
            return attend(context)

    return forward


def _stock(forward: Any) -> bool:
    return getattr(forward, "__module__", None) in STOCK
