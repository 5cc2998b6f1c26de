"""Text encodings, kept: the same prompt goes through a text encoder once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from lib_ebca.hosts.patch import replaced

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 2**30  # bytes
_ENCODERS = ("text_encoder", "text_encoder_2")


class Memo:
    """A text encoder's forward that remembers what it gave, on the CPU, up to `limit` bytes, the longest unused going.

    `encoded` counts how often the encoder itself was asked.
    """

    def __init__(self, forward: Callable[..., Any], limit: int = LIMIT) -> None:
        self._forward, self._limit = forward, limit
        self._kept: OrderedDict[object, Any] = OrderedDict()
        self._sizes: dict[object, int] = {}
        self.encoded = 0

    def __call__(self, ids: Tensor, **options: Any) -> Any:
        """The encoder's output for `ids`, (1, tokens), bit for bit what it was the first time."""
        key = (_hashable(ids), *((name, _hashable(value)) for name, value in sorted(options.items())))
        if key not in self._kept:
            self.encoded += 1
            output = self._forward(ids, **options)
            self._keep(key, _moved(output, "cpu"))
            return output
        self._kept.move_to_end(key)
        return _moved(self._kept[key], ids.device)

    def _keep(self, key: object, output: Any) -> None:
        self._kept[key] = output
        self._sizes[key] = _bytes(output)
        while sum(self._sizes.values()) > self._limit and len(self._kept) > 1:
            oldest, _ = self._kept.popitem(last=False)
            del self._sizes[oldest]


def memos_for(pipe: Any) -> dict[str, Memo]:
    """A memo for each text encoder of the pipeline, whose weights must stay as they are."""
    encoders = {name: getattr(pipe, name, None) for name in _ENCODERS}
    return {name: Memo(encoder.forward) for name, encoder in encoders.items() if encoder is not None}


@contextmanager
def remembering(pipe: Any, memos: dict[str, Memo]) -> Iterator[None]:
    """The pipeline's text encoders answer from their memos inside the block."""
    with ExitStack() as stack:
        for name, memo in memos.items():
            stack.enter_context(replaced(getattr(pipe, name), "forward", memo))
        yield


def _hashable(value: Any) -> object:
    import torch

    return (tuple(value.shape), tuple(value.flatten().tolist())) if isinstance(value, torch.Tensor) else value


def _moved(output: Any, device: Any) -> Any:
    """The output of a text encoder, with all its tensors on the device."""
    import torch

    if isinstance(output, torch.Tensor):
        return output.detach().to(device)
    if isinstance(output, dict):
        return type(output)({name: _moved(value, device) for name, value in output.items()})
    return tuple(_moved(value, device) for value in output) if isinstance(output, tuple | list) else output


def _bytes(output: Any) -> int:
    import torch

    if isinstance(output, torch.Tensor):
        return output.numel() * output.element_size()
    values = output.values() if isinstance(output, dict) else output
    return sum(map(_bytes, values)) if isinstance(output, dict | tuple | list) else 0
