"""What is edited and who judges it: a world's scenes, its kinds of edits, and its eye."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor


class EditingError(ValueError):
    """A benchmark that cannot be; the sentence says what would be right."""


@dataclass(frozen=True)
class Outcome:
    """Whether the edit succeeded, and the PSNR in dB of what should have stayed.

    `closer`: whether a CLIP finds the picture nearer to the text of what was wanted than to that of what was; None
    where none was asked."""

    success: bool
    kept: float
    closer: bool | None = None


class WordedEdit(Protocol):
    """One thing to change in one scene, in words."""

    @property
    def kind(self) -> str:
        """One of its ground's kinds."""

    @property
    def caption(self) -> str:
        """What is in the picture."""

    @property
    def swapped(self) -> str:
        """What is to be in it."""

    @property
    def added(self) -> str:
        """What comes, as an editorial prompt."""

    @property
    def removed(self) -> str | None:
        """What goes, as an editorial prompt, if it has a name."""

    @property
    def heading(self) -> str:
        """What is asked for, in few words."""


class Ground(Protocol):
    """Scenes of one world to be edited.

    Attributes:
        name: of the world.
        kinds: of edits.
        shared: whether all kinds edit the same scenes, so that an inversion serves them all.
        scored: whether a CLIP reads the pictures too.
    """

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> tuple[str, ...]: ...

    @property
    def shared(self) -> bool: ...

    @property
    def scored(self) -> bool: ...

    def edits(self, kind: str, count: int, seed: int) -> Sequence[Any]:
        """`count` scenes with an edit of that kind each, seeded; fewer are the first of more. Raises EditingError."""

    def pictures(self, edits: Sequence[Any]) -> Tensor:
        """The scenes as they are: (B, 3, S, S) in [0, 1]."""

    def outcomes(self, edits: Sequence[Any], before: Tensor, after: Tensor) -> list[Outcome]:
        """The pictures (B, 3, S, S) before and after the edits, judged."""


def kept_outside(before: Tensor, after: Tensor, centre: tuple[float, float], radius: float) -> float:
    """The PSNR in dB of a picture (3, S, S) against what it was, outside a disc of pixels."""
    axis = torch.arange(before.shape[-1]) + 0.5
    distance = ((axis[None] - centre[0]).square() + (axis[:, None] - centre[1]).square()).sqrt()
    error = float((after.clamp(0, 1) - before).square().mean(0)[distance > radius].mean())
    return 10 * math.log10(1 / max(error, 1e-10))
