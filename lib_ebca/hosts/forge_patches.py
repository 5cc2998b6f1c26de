"""What other extensions put around a cross-attention layer of Forge's UNet, taken over for one call of the network.

Forge's transformer block runs patches before the layer, a replacement instead of it, and patches after it. A block with
a replacement never calls the layer, so that nothing which stands in the layer's place would be reached. Taken over,
all of them are run by whoever stands there: for the main context and for every editorial one alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

_BEFORE, _AFTER, _INSTEAD = "attn2_patch", "attn2_output_patch", "attn2"
_PATCHES, _REPLACEMENTS = "patches", "patches_replace"


class ForeignRowsError(ValueError):
    """A patch gives the layer other rows than the batch has: prompts by region, for instance."""


@dataclass(frozen=True, eq=False)
class Taken:
    """The patches of one call of the network.

    Attributes:
        options: what the network is handed instead; it goes on writing into it which block is running.
        before: take query states, context and value context, and the options; give the three.
        instead: by block: take projected queries, keys and values, and the options; give what goes to ``to_out``.
        after: take the output and the options; give the output.
    """

    options: dict[str, Any]
    before: Sequence[Callable[..., tuple[Tensor, Tensor, Tensor]]]
    instead: Mapping[Any, Callable[..., Tensor]]
    after: Sequence[Callable[..., Tensor]]

    def touches_block(self) -> bool:
        """Whether anything was taken over for the block that is running."""
        return bool(self.before or self.after) or self._replacement() is not None

    def attended(
        self, layer: Any, x: Tensor, context: Tensor, found: Callable[..., Tensor], extra: Mapping[str, Any]
    ) -> Tensor:
        """The layer's output for a context, as the block would have made it.

        Args:
            layer: the cross-attention, with ``to_q``, ``to_k``, ``to_v`` and ``to_out``.
            x: (B, N, C), the block's normed states.
            context: (B, T, D).
            found: the layer's own way: takes states, context and value context (None: the context).
            extra: what patches are told of the block.

        Raises:
            ForeignRowsError: a patch gave another number of rows.
        """
        value = None
        if self.before:
            value = context
            rows = x.shape[0]
            for patch in self.before:
                x, context, value = patch(x, context, value, extra)
            if x.shape[0] != rows:
                raise ForeignRowsError("another extension gives the layers rows of its own, as prompts by region do")
        return self._after(self._attended(layer, x, context, value, found, extra), extra)

    def untouched(
        self, layer: Any, x: Tensor, context: Tensor, found: Callable[..., Tensor], extra: Mapping[str, Any]
    ) -> Tensor:
        """As :meth:`attended`, whatever the patches do to the rows."""
        value = context if self.before else None
        for patch in self.before:
            x, context, value = patch(x, context, value, extra)
        return self._after(self._attended(layer, x, context, value, found, extra), extra)

    def _attended(
        self,
        layer: Any,
        x: Tensor,
        context: Tensor,
        value: Tensor | None,
        found: Callable[..., Tensor],
        extra: Mapping[str, Any],
    ) -> Tensor:
        replacement = self._replacement()
        if replacement is None:
            return found(x, context, value)
        query, key, values = layer.to_q(x), layer.to_k(context), layer.to_v(context if value is None else value)
        output: Tensor = layer.to_out(replacement(query, key, values, extra))
        return output

    def _after(self, output: Tensor, extra: Mapping[str, Any]) -> Tensor:
        for patch in self.after:
            output = patch(output, extra)
        return output

    def _replacement(self) -> Callable[..., Tensor] | None:
        block = self.options.get("block")
        if block is None or not self.instead:
            return None
        within = (block[0], block[1], self.options.get("block_index", 0))
        return self.instead.get(within, self.instead.get(block))


def taken_over(options: Mapping[str, Any]) -> Taken:
    """The cross-attention patches of a call's ``transformer_options``, and options without them.

    The host shares the inner dicts with its patcher: they stay as they are.
    """
    patches = dict(options.get(_PATCHES) or {})
    replacements = dict(options.get(_REPLACEMENTS) or {})
    before, after, instead = patches.pop(_BEFORE, ()), patches.pop(_AFTER, ()), replacements.pop(_INSTEAD, {})
    cleaned = dict(options)
    for name, value in ((_PATCHES, patches), (_REPLACEMENTS, replacements)):
        if name in cleaned:
            cleaned[name] = value
    return Taken(cleaned, tuple(before), dict(instead), tuple(after))


def extra_options(options: Mapping[str, Any], layer: Any) -> dict[str, Any]:
    """What the block tells its patches: the options but for the patches, and the layer's heads."""
    extra = {name: value for name, value in options.items() if name not in (_PATCHES, _REPLACEMENTS)}
    extra |= {"n_heads": layer.heads, "dim_head": layer.dim_head}
    if hasattr(layer, "attn_precision"):
        extra["attn_precision"] = layer.attn_precision
    return extra
