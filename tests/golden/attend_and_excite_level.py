"""Levels of Attend-and-Excite: the published code's numbers on small random UNets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.golden.case import Case

RUNS: dict[str, Callable[[Case, torch.dtype], dict[str, Tensor]]] = {}
"""A run for each level, by its name."""
