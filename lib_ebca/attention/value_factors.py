"""Factors of the attention's probabilities, head by head and token by token, as factors of the values.

What multiplies columns of P after the softmax multiplies rows of V: P diag(r) V. So strengthening a concept on a word,
or reweighting a word, costs nothing where keys and values are kept, and needs no attention matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib_ebca.attention.picture import Picture, Rows, Values


@dataclass(frozen=True, eq=False)
class ValueFactors:
    """The factors of one evaluation, laid out for the rows of the batch.

    Attributes:
        layers: for each layer (B, T, h); or one (B, T, 1) for all layers, where every head has the same.
    """

    layers: tuple[Tensor, ...]

    def scaled(self, values: Tensor, layer: int) -> Tensor:
        """The values of a layer, (B, T, C), times its heads' factors."""
        factors = self.layers[min(layer, len(self.layers) - 1)].to(values.dtype)
        heads = factors.shape[-1]
        return (values.unflatten(-1, (heads, -1)) * factors[..., None]).flatten(-2)


def value_factors(
    pictures: Sequence[Picture], values: Sequence[Values], rows: Rows, given: Tensor
) -> ValueFactors | None:
    """The factors that act now, multiplied where several meet on a token.

    Only conditional rows have any: the published methods leave the unconditional half alone.

    Args:
        pictures: P of them, with their factors.
        values: the numbers of each picture now; of them, which factors are on.
        rows: the batch.
        given: (B, T, D), the main context; its length and device.

    Returns:
        None if nothing acts.
    """
    acting = [
        (row, factors)
        for row, (picture, conditional) in enumerate(zip(rows.picture, rows.conditional, strict=True))
        if conditional
        for factors, on in zip(pictures[picture].factors, values[picture].factors, strict=True)
        if on
    ]
    if not acting:
        return None
    counts = next((tuple(len(heads) for heads in factors.heads) for _, factors in acting if factors.heads), (1,))
    dtype = torch.float64 if given.dtype == torch.float64 else torch.float32
    tables = [torch.ones(len(rows.picture), given.shape[1], count, dtype=dtype) for count in counts]
    for row, factors in acting:
        length = given.shape[1] // rows.copies_of(row)
        tokens = [token + start for start in range(0, given.shape[1], length) for token in factors.tokens]
        for layer, table in enumerate(tables):
            table[row, tokens] *= factors.factor if not factors.heads else factors.heads[layer].to(dtype).cpu()
    return ValueFactors(tuple(table.to(given.device) for table in tables))
