"""Attend-and-Excite: how much of the picture each subject of a prompt has, and the latent's way to more.

Chefer et al., "Attend-and-Excite: Attention-Based Semantic Guidance for Text-to-Image Diffusion Models" (SIGGRAPH
2023), with the arithmetic of the published code. A subject's score is the largest value of its smoothed map: 1 where
some pixel looks at nothing else, 0 where none looks at it. Rows of a batch are independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib_ebca.methods.maps import smoothed, smoothing_kernel, text_shares

SCALE_RANGE = (1.0, 0.5)
MOST_REFINEMENTS = 20
OVER = ("max", "mean")


@dataclass(frozen=True)
class Objective:
    """How subjects are measured and their losses made one.

    Attributes:
        loss: "max" as published, only the most neglected subject pulls; or "mean", all of them do.
        tokens: the score of a word of several tokens: "max", that of its best token, or "mean".
        kernel: "published", "gaussian", or None: no smoothing.
    """

    loss: str = "max"
    tokens: str = "max"
    kernel: str | None = "published"

    def __post_init__(self) -> None:
        for name in ("loss", "tokens"):
            if getattr(self, name) not in OVER:
                raise ValueError(f"{name} is {getattr(self, name)!r}: it should be one of {', '.join(OVER)}")


PUBLISHED = Objective()


def subject_scores(
    probabilities: Tensor,
    size: tuple[int, int],
    text: Tensor,
    subjects: Sequence[Sequence[int]],
    objective: Objective = PUBLISHED,
    mask: Tensor | None = None,
) -> Tensor:
    """The scores of one picture's subjects, (S,), in [0, 1].

    Args:
        probabilities: (N, T), mean over the heads of the layers that are read.
        size: their height and width.
        text: (T,) of bool, the tokens that share the pixels.
        subjects: the tokens of each subject.
        objective: how they are measured.
        mask: (h, w) in [0, 1]: where the subjects are looked for.
    """
    shares = text_shares(probabilities, text)
    tokens = [token for subject in subjects for token in subject]
    maps = shares[:, tokens].T.unflatten(-1, size)
    return scores_of_maps(maps, [len(subject) for subject in subjects], objective, objective.kernel, mask)


def scores_of_maps(
    maps: Tensor, counts: Sequence[int], objective: Objective, kernel: str | None, mask: Tensor | None
) -> Tensor:
    """The scores of subjects, (S,): each token's is the largest value of its map.

    Args:
        maps: (K, h, w), of the tokens of all subjects, one subject after the other.
        counts: how many tokens each subject has, together K.
        objective: how tokens are told as one.
        kernel: what the maps are smoothed by; None: not at all.
        mask: (h, w) in [0, 1]: where the subjects are looked for.
    """
    if kernel is not None:
        maps = smoothed(maps, smoothing_kernel(kernel, dtype=maps.dtype))
    if mask is not None:
        maps = maps * mask
    maxima = maps.flatten(1).max(-1).values.split(list(counts))
    return torch.stack([each.max() if objective.tokens == "max" else each.mean() for each in maxima])


def losses(scores: Tensor) -> Tensor:
    """max(0, 1 - score) of each subject."""
    return (1.0 - scores).relu()


def pull(losses: Tensor, sizes: Tensor, objective: Objective = PUBLISHED) -> tuple[Tensor, Tensor]:
    """The loss of a picture, and the quantity whose gradient is the latent's step.

    Args:
        losses: (S,), one for each subject.
        sizes: (S,), the step size of each.
        objective: the largest loss counts, or the mean of all.
    """
    if objective.loss == "mean":
        return losses.mean(), (losses * sizes).mean()
    worst = losses.argmax()
    return losses[worst], losses[worst] * sizes[worst]


def step_size(scale: float, number: int, evaluations: int) -> float:
    """scale * sqrt(s), where s falls evenly from 1 at the first evaluation of a pass to 0.5 at its last."""
    first, last = SCALE_RANGE
    share = min(number, evaluations - 1) / (evaluations - 1) if evaluations > 1 else 0.0
    return scale * math.sqrt(first + share * (last - first))


@dataclass(frozen=True)
class Ask:
    """What is wanted of one row at one step.

    Attributes:
        target: refine until the loss is at most this; None: no refinement.
        update: whether the ordinary step is taken.
    """

    target: float | None
    update: bool


@dataclass(frozen=True, eq=False)
class Measured:
    """Some rows' losses at a latent, and the steps that lessen them.

    Attributes:
        losses: one for each row.
        steps: (R, C, h, w), step size times gradient.
    """

    losses: tuple[float, ...]
    steps: Tensor


@dataclass(frozen=True)
class Moved:
    """What one step did to a row.

    Attributes:
        loss: its loss before anything was changed.
        updates: the loss before each update, in their order.
        refinements: how many of them belong to the refinement.
        finite: False if a gradient was not finite, which ends the row's changes.
    """

    loss: float
    updates: tuple[float, ...]
    refinements: int
    finite: bool


def excite(
    latents: Tensor,
    asks: Sequence[Ask],
    measure: Callable[[Tensor, list[int]], Measured],
    *,
    most: int = MOST_REFINEMENTS,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[Tensor, tuple[Moved, ...]]:
    """Iterative refinement of the rows that are asked for it, then the ordinary update.

    As published, a refinement looks at the loss from before its last update, so that it makes one update more than its
    target demands. Rows that have done drop out of the evaluations.

    Args:
        latents: (R, C, h, w).
        asks: what each row wants.
        measure: evaluates some rows at the latents given for them: (latents of the rows, their numbers).
        most: the largest number of refinements.
        stopped: asked before each evaluation; True leaves the latents as they have become.

    Returns:
        The new latents and what was done, row by row.
    """
    latents = latents.clone()
    rows = [row for row, ask in enumerate(asks) if ask.update or ask.target is not None]
    done = {row: _Row(ask) for row, ask in enumerate(asks) if row in rows}
    while rows and not stopped():
        measured = measure(latents[rows], rows)
        moving = []
        for place, row in enumerate(rows):
            step = measured.steps[place]
            if done[row].wants(measured.losses[place], bool(step.isfinite().all()), most):
                latents[row] -= step
            if not done[row].over:
                moving.append(row)
        rows = moving
    return latents, tuple(
        done[row].moved() if row in done else Moved(math.nan, (), 0, True) for row in range(len(asks))
    )


class _Row:
    """The course of one row through its refinement."""

    def __init__(self, ask: Ask) -> None:
        self.over = False
        self._ask = ask
        self._first = self._last = math.nan
        self._updates: list[float] = []
        self._refinements = 0
        self._refining: bool | None = None
        self._finite = True

    def wants(self, loss: float, finite: bool, most: int) -> bool:
        """Whether the step is taken that belongs to this loss; says also when the row is over."""
        target = self._ask.target
        if self._refining is None:
            self._first = loss
            self._refining = target is not None and loss > target
        elif self._refining:
            assert target is not None
            # The test looks at the loss from before the last update.
            self._refining = self._last > target and self._refinements < most
        self._last = loss
        if not (finite and math.isfinite(loss)):
            self._finite, self.over = False, True
            return False
        if self._refining:
            self._refinements += 1
        else:
            self.over = True
        wanted = loss > 0.0 and (self._refining or self._ask.update)
        if wanted:
            self._updates.append(loss)
        return wanted

    def moved(self) -> Moved:
        return Moved(self._first, tuple(self._updates), self._refinements, self._finite)
