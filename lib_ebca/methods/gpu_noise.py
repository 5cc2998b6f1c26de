"""Normal numbers as torch draws them from a seed on an NVIDIA GPU, computed anywhere: the WebUI's RNG "NV".

Philox 4x32-10 (Salmon et al. 2011), one stream for each number, whose first two words become a normal one by Box and
Muller as cuRAND does it. Held against the WebUI's own numbers; a GPU gives the same ones as long as it has a thread for
every number of the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_WORD = 0xFFFFFFFF
# cuRAND's constants, in the single precision that they have there.
_UNIT, _TURN = torch.tensor([2.3283064e-10, 2.3283064e-10 * 6.2831855], dtype=torch.float32).tolist()


class GpuNoise:
    """The numbers that follow each other from a seed in [0, 2**64)."""

    def __init__(self, seed: int) -> None:
        self._key = (seed & _WORD, seed >> 32 & _WORD)
        self._calls = 0

    def __call__(self, shape: Sequence[int]) -> Tensor:
        """The next tensor of this shape, float32 on the CPU."""
        count = math.prod(shape)
        nothing = torch.zeros(count, dtype=torch.int64)
        first, second = _philox([nothing + self._calls, nothing, torch.arange(count), nothing], self._key)
        self._calls += 1
        radius = (-2 * (first.double() * _UNIT + _UNIT / 2).log()).sqrt()
        return (radius * (second.double() * _TURN + _TURN / 2).sin()).float().reshape(tuple(shape))


def _philox(counter: list[Tensor], key: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The first two words of each stream; words are int64 of 32 bits."""
    one, two, three, four = counter
    left, right = key
    for _ in range(_ROUNDS):
        low_of_one, high_of_one = _product(one, _MULTIPLIERS[0])
        low_of_three, high_of_three = _product(three, _MULTIPLIERS[1])
        one, two = high_of_three ^ two ^ left, low_of_three
        three, four = high_of_one ^ four ^ right, low_of_one
        left, right = left + _WEYL[0] & _WORD, right + _WEYL[1] & _WORD
    return one, two


def _product(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The lower and the upper 32 bits of a product of 64, which int64 holds whatever sign it then shows."""
    whole = word * factor
    return whole & _WORD, whole >> 32 & _WORD
