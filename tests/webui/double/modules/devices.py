"""The host's look at what the network made: it stops at the first number of a batch that is none."""

from __future__ import annotations

import torch
from modules import shared
from torch import Tensor


class NansException(Exception):
    """As the host's."""


def test_for_nans(x: Tensor, where: str) -> None:
    if not shared.cmd_opts.disable_nan_check and torch.isnan(x[(0,) * len(x.shape)]):
        raise NansException(f"A tensor with NaNs was produced in {where.capitalize()}.")
