"""diffusers' UNet: its cross-attention layers in their order, and the cascade's way in and out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, cast
from weakref import ref

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn

from lib_ebca.attention.adjoint import NotLinearError
from lib_ebca.attention.cascade import Cascade, UnknownRowsError
from lib_ebca.attention.layer import attention
from lib_ebca.attention.layer_size import UnknownSizeError
from lib_ebca.attention.projections import Projections, TextMask
from lib_ebca.attention.self_following import self_attention
from lib_ebca.hosts.patch import Life, replaced, somebodys
from lib_ebca.hosts.run import HostError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Of a call of the UNet, by position and by name."""
STOCK = (AttnProcessor2_0, AttnProcessor)
"""Processors whose arithmetic the fused layer repeats; every other one is called as it is."""


def cross_attention_layers(unet: UNet2DConditionModel) -> list[tuple[str, Attention]]:
    """The layers that read the prompt, with their names, in the order in which the UNet runs them: down, mid, up.

    Layers that normalise the context or the keys are left out: their keys are no linear map of the context.
    """
    # Distilled models may have no middle.
    parts = {name: getattr(unet, name) for name in ("down_blocks", "mid_block", "up_blocks") if getattr(unet, name)}
    return [
        (f"{part}.{name}", module)
        for part, blocks in parts.items()
        for name, module in blocks.named_modules()
        if isinstance(module, Attention) and module.is_cross_attention and _linear_keys(module)
    ]


def self_attention_layers(unet: UNet2DConditionModel) -> list[Attention]:
    """The layers of the transformer blocks in which pixels look at pixels."""
    return [
        block.attn1 for block in unet.modules() if isinstance(block, BasicTransformerBlock) and _within_picture(block)
    ]


def levels_of(unet: UNet2DConditionModel) -> list[int]:
    """How often the latent's sides are halved in each of :func:`cross_attention_layers`."""
    deepest = len(unet.down_blocks) - 1
    levels = []
    for name, _ in cross_attention_layers(unet):
        part, block = name.split(".")[:2]
        if part == "mid_block":
            levels.append(deepest)
        else:
            levels.append(int(block) if part == "down_blocks" else deepest - int(block))
    return levels


@contextmanager
def installed(
    unet: UNet2DConditionModel,
    current: Callable[[], Cascade | None],
    tell: Callable[[str], None],
    following: bool = False,
) -> Iterator[None]:
    """Put a cascade into a UNet's cross-attention layers for the length of the block.

    Args:
        unet: the model; afterwards each of its attributes is the object that it was before.
        current: the cascade of the evaluation under way; None lets the layers work as they are.
        tell: takes a sentence for the user if a layer cannot be served; such a layer passes through unchanged.
        following: whether pictures may follow others, which reaches into the self-attention too.
    """
    layers = cross_attention_layers(unet)
    if not layers:
        tell("EBCA was not applied: the UNet has no cross-attention whose keys are a linear map of the prompt.")
    with ExitStack() as stack:
        for index, (name, module) in enumerate(layers):
            stack.enter_context(replaced(module, "forward", _forward(module, index, name, current, tell)))
        for module in self_attention_layers(unet) if following else ():
            stack.enter_context(replaced(module, "forward", _self_forward(module, current)))
        yield


@contextmanager
def announced(unet: nn.Module, before: Callable[[tuple[Any, ...], dict[str, Any]], Arguments | None]) -> Iterator[None]:
    """Call ``before`` with the arguments of each call of the UNet, outside of its graph if it is compiled.

    What it returns, if anything, are the arguments that the UNet is called with.
    """
    compiled = vars(unet).get("_compiled_call_impl")
    if compiled is None:
        # What `torch.compile(unet)` returns is a module of its own around the UNet, with hooks of its own.
        _silence(unet)
        life = Life()
        listener = _Listener(before, life)
        try:
            unet.register_forward_pre_hook(listener, with_kwargs=True)
            yield
        finally:
            listener.before = None
            _silence(unet)
        return

    # After `unet.compile()` the UNet's hooks are part of the graph.
    def call(*args: Any, **keywords: Any) -> Any:
        args, keywords = before(args, keywords) or (args, keywords)
        return compiled(*args, **keywords)

    with replaced(unet, "_compiled_call_impl", call):
        yield


class _Listener:
    """A hook that may be copied and pickled along with the UNet, and then does nothing."""

    def __init__(
        self,
        before: Callable[[tuple[Any, ...], dict[str, Any]], Arguments | None] | None = None,
        life: Life | None = None,
    ) -> None:
        self.before = before
        self._life = None if life is None else ref(life)

    @property
    def stranded(self) -> bool:
        """Whether its block has ended, and an interruption came before it was removed."""
        return self.before is None or self._life is None or self._life() is None

    def __call__(self, module: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> Arguments | None:
        return None if self.before is None else self.before(args, keywords)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Listener, ()


def _silence(unet: nn.Module) -> None:
    """Take out the listeners whose blocks have ended, without handles, which an interruption may have lost."""
    for number, hook in list(unet._forward_pre_hooks.items()):
        if isinstance(hook, _Listener) and hook.stranded:
            del unet._forward_pre_hooks[number]
            unet._forward_pre_hooks_with_kwargs.pop(number, None)


def is_compiled(unet: nn.Module) -> bool:
    """Whether the UNet as a whole runs as a graph, by ``torch.compile(unet)`` or ``unet.compile()``."""
    return "_compiled_call_impl" in vars(unet) or hasattr(unet, "_orig_mod")


def has_compiled_blocks(unet: nn.Module) -> bool:
    """Whether parts of the UNet run as graphs of their own, by ``unet.compile_repeated_blocks()``."""
    return not is_compiled(unet) and any("_compiled_call_impl" in vars(module) for module in unet.modules())


def uncompiled() -> AbstractContextManager[object]:
    """A block in which compiled parts run as they were written. Raises HostError under a torch that cannot do that."""
    stance = getattr(torch.compiler, "set_stance", None)
    if stance is None:
        raise HostError(
            f"torch {torch.__version__} cannot set compiled parts aside, which blocks compiled one by one, records and "
            "pictures that follow others need: torch 2.6 can, or give the UNet as it was before it was compiled"
        )
    return cast("AbstractContextManager[object]", stance("force_eager"))


def own_projections(unet: UNet2DConditionModel) -> list[Projections]:
    """The parts of the layers that the fused form may stand in for, in their order."""
    layers = enumerate(cross_attention_layers(unet))
    return [_projections(module, index, name) for index, (name, module) in layers if _plain(module)]


def _forward(
    module: Attention, index: int, name: str, current: Callable[[], Cascade | None], tell: Callable[[str], None]
) -> Callable[..., Tensor]:
    found = module.forward
    # Somebody's own forward, on the instance or in a subclass, has to be called, whatever processor stands below it.
    theirs = somebodys(module, "forward") is not None or type(module).forward is not Attention.forward

    def forward(
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: Tensor | None = None,
        **keywords: Any,
    ) -> Tensor:
        cascade = current()
        if cascade is None or encoder_hidden_states is None:
            return found(hidden_states, encoder_hidden_states, attention_mask, **keywords)
        # IP-Adapter hands its image embeddings on beside the text: (text, [images]).
        beside = encoder_hidden_states[1:] if isinstance(encoder_hidden_states, tuple) else None
        given = encoder_hidden_states if beside is None else encoder_hidden_states[0]

        def attend(context: Tensor, mask: Tensor | None = attention_mask) -> Tensor:
            read = context if beside is None else (context, *beside)
            return found(hidden_states, read, mask, **keywords)

        plain_call = beside is None and attention_mask is None and not keywords and hidden_states.ndim == 3
        own = plain_call and not theirs and _plain(module)
        try:
            text = _text_mask(attention_mask, given, lambda context: attend(context, None))
            return attention(_projections(module, index, name), cascade, hidden_states, given, attend, own, text)
        except (UnknownRowsError, UnknownSizeError, NotLinearError) as error:
            # Without the layer's name: many layers with one trouble are told of once.
            tell(f"EBCA was not applied in some layers: {error}.")
            return attend(given)

    return forward


def _text_mask(mask: Tensor | None, given: Tensor, attend: Callable[[Tensor], Tensor]) -> TextMask | None:
    """What the UNet makes of an ``encoder_attention_mask``: (B, 1, T) to be added, or booleans."""
    if mask is None or mask.shape[-1] != given.shape[1]:
        return None
    bias = torch.where(mask, 0.0, -torch.inf) if mask.dtype == torch.bool else mask
    return TextMask(bias.reshape(-1, given.shape[1]), attend)


def _self_forward(module: Attention, current: Callable[[], Cascade | None]) -> Callable[..., Tensor]:
    found = module.forward
    theirs = somebodys(module, "forward") is not None or type(module).forward is not Attention.forward

    def forward(
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **keywords: Any,
    ) -> Tensor:
        def attend() -> Tensor:
            return found(hidden_states, encoder_hidden_states, attention_mask, **keywords)

        cascade = current()
        if cascade is None:
            return attend()
        plain_call = encoder_hidden_states is None and attention_mask is None and not keywords
        own = plain_call and hidden_states.ndim == 3 and not theirs and _plain(module)
        return self_attention(_projections(module, -1, "attn1"), cascade, hidden_states, attend, own)

    return forward


def _projections(module: Attention, index: int, name: str) -> Projections:
    """The layer's parts as they are now: a LoRA that is loaded meanwhile puts others in their place."""

    def to_out(states: Tensor) -> Tensor:
        return module.to_out[1](module.to_out[0](states))

    # AttnProcessor2_0 leaves the scale to the kernel; naming it would change nothing but the last bit.
    scale = None if module.scale_qk else module.scale
    return Projections(index, name, module.to_q, module.to_k, module.to_v, to_out, module.heads, scale)


def _within_picture(block: BasicTransformerBlock) -> bool:
    return block.attn1 is not None and not block.attn1.is_cross_attention


def _linear_keys(module: Attention) -> bool:
    plain = module.norm_cross is None and module.norm_q is None and module.norm_k is None
    return plain and module.added_kv_proj_dim is None


def _plain(module: Attention) -> bool:
    """Whether the layer does nothing but project, attend and project back."""
    upcast = type(module.processor) is AttnProcessor and (module.upcast_attention or module.upcast_softmax)
    return (
        type(module.processor) in STOCK
        and not upcast
        and module.spatial_norm is None
        and module.group_norm is None
        and not module.residual_connection
        and module.rescale_output_factor == 1
        and not module.fused_projections
    )
