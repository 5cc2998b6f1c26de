"""Attend-and-Excite in a pass of sampling: before a step is evaluated, its latent is moved towards the subjects.

The host calls :meth:`Excitation.altered` with the latents it is about to evaluate, and a function that runs its UNet on
some pictures' conditional rows under a given cascade. All that differs between hosts is in that function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.excite_record import ExciteRecord
from lib_ebca.attention.picture import Picture, Rows, Timetable, Values
from lib_ebca.attention.subjects import Asked, Subject, Subjects, level_of
from lib_ebca.attention.watcher import EnoughRead, Watcher
from lib_ebca.attention.weighted_watcher import WeightedWatcher
from lib_ebca.methods import head_weighted_maps
from lib_ebca.methods.attend_and_excite import (
    MOST_REFINEMENTS,
    PUBLISHED,
    Ask,
    Measured,
    Moved,
    Objective,
    excite,
    losses,
    pull,
    step_size,
    subject_scores,
)

Evaluate = Callable[[Tensor, list[int], Cascade], None]
"""Runs the host's UNet: the pictures' latents (R, C, h, w), their numbers, and the cascade its layers are to follow."""

HALF_PRECISION_SCALE = 1024.0
"""What the loss is multiplied by on its way back through a model in float16, so that its gradient does not vanish."""


@dataclass(frozen=True)
class Reading:
    """How subjects are read off a model, and how hard is worked at them.

    Attributes:
        objective: how they are measured.
        level: how often the latent's sides are halved in the layers that are read; None: twice, or nearly.
        most: the largest number of refinements in a step.
        checkpointing: keep less for the gradient and compute it again, where the host can.
    """

    objective: Objective = PUBLISHED
    level: int | None = None
    most: int = MOST_REFINEMENTS
    checkpointing: bool = False


USUAL = Reading()


class Excitation:
    """The subjects of the pictures of one pass.

    Args:
        pictures: the subjects of each picture.
        steps: evaluations of the pass that its fractions are fractions of.
        levels: how often the latent is halved in each of the model's cross-attention layers, in their order.
        evaluations: all evaluations of the pass, over which the step sizes fall; ``steps`` if not given.
        reading: how subjects are read.
        masks: for each picture (H, W) in [0, 1] or None: subjects are looked for and the latent is moved where it is 1.
        tell: takes sentences for the user.
        stopped: asked before each evaluation; True ends it.
        cascade: makes the cascade that the layers follow while the gradient is taken, given its watcher; by default one
            in which they work as they are.
        maps: keep the subjects' attention maps in the records.

    Raises:
        LevelError: the model has no layers of the level that is to be read.
    """

    def __init__(
        self,
        pictures: Sequence[Subjects],
        steps: int,
        levels: Sequence[int],
        *,
        evaluations: int | None = None,
        reading: Reading = USUAL,
        masks: Sequence[Tensor | None] | None = None,
        tell: Callable[[str], None] = lambda sentence: None,
        stopped: Callable[[], bool] = lambda: False,
        cascade: Callable[[Watcher], Cascade] | None = None,
        maps: bool = False,
    ) -> None:
        self.pictures = tuple(pictures)
        self.records: list[ExciteRecord] = []
        self.level = level_of(levels, reading.level)
        self._last = max(index for index, level in enumerate(levels) if level == self.level)
        self._final = len(levels) - 1
        self._steps, self._evaluations, self._reading = steps, evaluations or steps, reading
        self._masks = list(masks) if masks is not None else [None] * len(self.pictures)
        self._tell, self._stopped, self._keep_maps = tell, stopped, maps
        self._cascade = self._plain if cascade is None else cascade
        self._before = -1
        self._seen: dict[int, list[dict[str, float]]] = {}
        self._maps: dict[int, dict[str, Tensor]] = {}

    def read(self, pictures: Sequence[Subjects]) -> None:
        """From now on the subjects are these: a prompt that changes over the steps has others."""
        self.pictures = tuple(pictures)

    def wants(self, number: int) -> bool:
        """Whether evaluation ``number`` is altered."""
        return any(asked.acting for asked in self._asked(number))

    def altered(self, number: int, latents: Tensor, evaluate: Evaluate) -> Tensor:
        """The latents (pictures, C, h, w) of evaluation ``number``, moved.

        They come back in their own type; in between they are in float32 at least.
        """
        asked, self._before = self._asked(number), number
        return self.altered_as(asked, number, latents, evaluate)

    def altered_as(self, asked: Sequence[Asked], number: int, latents: Tensor, evaluate: Evaluate) -> Tensor:
        """:meth:`altered`, with what is asked of each picture given."""
        self._seen, self._maps = {}, {}
        moved: list[list[Moved]] = [[] for _ in asked]
        wide = latents if latents.dtype == torch.float64 else latents.float()
        for subjects, asks in _phases(asked):

            def measure(
                rows_latents: Tensor, rows: list[int], subjects: list[tuple[Subject, ...]] = subjects
            ) -> Measured:
                sizes = [[step_size(each.scale, number, self._evaluations) for each in subjects[row]] for row in rows]
                return self._measure(rows_latents, rows, [subjects[row] for row in rows], sizes, evaluate, number)

            wide, phase = excite(wide, asks, measure, most=self._reading.most, stopped=self._stopped)
            for row, done in enumerate(phase):
                moved[row].append(done)
        for row, (each, parts) in enumerate(zip(asked, moved, strict=True)):
            if row in self._seen:
                self._record(number, row, each, parts)
        return wide.to(latents.dtype)

    def _asked(self, number: int) -> list[Asked]:
        return [picture.asked(number, self._steps, min(self._before, number - 1)) for picture in self.pictures]

    def _measure(
        self,
        latents: Tensor,
        rows: list[int],
        subjects: list[tuple[Subject, ...]],
        sizes: list[list[float]],
        evaluate: Evaluate,
        number: int,
    ) -> Measured:
        with torch.enable_grad():
            leaf = latents.detach().requires_grad_()
            watcher = self.watched(leaf, rows, evaluate, number, subjects)
            worst, pulls = [], []
            for place, row in enumerate(rows):
                scores = self._scores(watcher, place, row, subjects[place])
                weights = torch.tensor(sizes[place], dtype=scores.dtype, device=scores.device)
                loss, wanted = pull(losses(scores), weights, self._reading.objective)
                worst.append(float(loss.detach()))
                pulls.append(wanted)
            scale = HALF_PRECISION_SCALE if watcher.half else 1.0
            (steps,) = torch.autograd.grad(scale * torch.stack(pulls).sum(), leaf)
            steps = steps / scale if watcher.half else steps
        for place, row in enumerate(rows):
            mask = self._mask(row, (latents.shape[-2], latents.shape[-1]), steps)
            if mask is not None:
                steps[place] *= mask
        return Measured(tuple(worst), steps)

    def _scores(self, watcher: Watcher, place: int, row: int, subjects: tuple[Subject, ...]) -> Tensor:
        """The scores of a row's subjects, (S,): of the plain ones and of those that a concept is named for."""
        objective = self._reading.objective
        found: dict[int, Tensor] = {}
        maps: dict[int, Tensor] = {}
        plain = [number for number, each in enumerate(subjects) if not each.heads]
        if plain:
            attention, size = watcher.mean[place], watcher.size
            text, mask = self._text(row, attention), self._mask(row, size, attention)
            tokens = [subjects[number].tokens for number in plain]
            found |= zip(plain, subject_scores(attention, size, text, tokens, objective, mask), strict=True)
            maps |= {number: attention.unflatten(0, size) for number in plain}
        weighted = [number for number, each in enumerate(subjects) if each.heads]
        if weighted and isinstance(watcher, WeightedWatcher):
            pooled = watcher.weighted(place)
            text, mask = self._text(row, pooled), self._mask(row, (pooled.shape[1], pooled.shape[2]), pooled)
            tokens = [subjects[number].tokens for number in weighted]
            scores = head_weighted_maps.subject_scores(pooled, text, tokens, objective, mask)
            found |= zip(weighted, scores, strict=True)
            maps |= zip(weighted, pooled, strict=True)
        ordered = torch.stack([found[number] for number in range(len(subjects))])
        self._keep(row, subjects, ordered, maps)
        return ordered

    def _text(self, row: int, attention: Tensor) -> Tensor:
        """The tokens that share the pixels; a host may have filled the context up with more of them."""
        text = torch.tensor(self.pictures[row].text, device=attention.device)
        return F.pad(text, (0, attention.shape[-1] - len(text)))

    def _plain(self, watcher: Watcher) -> Cascade:
        still = Timetable((Values(),))
        return Cascade([Picture()] * len(self.pictures), [still] * len(self.pictures), recorder=watcher)

    def watched(
        self,
        leaf: Tensor,
        rows: list[int],
        evaluate: Evaluate,
        number: int,
        subjects: Sequence[Sequence[Subject]] = (),
    ) -> Watcher:
        """The rows' evaluation up to the last layer that is read for these subjects; with its graph."""
        height, width = leaf.shape[-2], leaf.shape[-1]
        size = (height, width)
        for _ in range(self.level):
            size = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        if any(subject.heads for own in subjects for subject in own):
            watcher: Watcher = WeightedWatcher(size, self._last, subjects, self._final)
        else:
            watcher = Watcher(size, self._last)
        cascade = self._cascade(watcher)
        cascade.begin(Rows(tuple(rows), (True,) * len(rows)), (height, width), number)
        with suppress(EnoughRead):
            evaluate(leaf, rows, cascade)
        watcher.close()
        return watcher

    def _mask(self, row: int, size: tuple[int, int], like: Tensor) -> Tensor | None:
        mask = self._masks[row]
        if mask is None:
            return None
        return _resized(mask.to(like), size)

    def _keep(self, row: int, subjects: tuple[Subject, ...], scores: Tensor, maps: dict[int, Tensor]) -> None:
        named = {subject.name: float(score) for subject, score in zip(subjects, scores.detach(), strict=True)}
        self._seen.setdefault(row, []).append(named)
        if self._keep_maps:
            self._maps.setdefault(row, {}).update(
                {
                    each.name: maps[number].detach()[..., list(each.tokens)].sum(-1).float().cpu()
                    for number, each in enumerate(subjects)
                }
            )

    def _record(self, number: int, row: int, asked: Asked, parts: list[Moved]) -> None:
        first, last = self._seen[row][0], self._seen[row][-1]
        if not all(part.finite for part in parts):
            self._tell(f"Subjects: step {number + 1} was left as it was, for its gradient was not finite.")
        self.records.append(
            ExciteRecord(
                number,
                row,
                first,
                last,
                tuple(loss for part in parts for loss in part.updates) or (parts[-1].loss,),
                sum(len(part.updates) for part in parts),
                sum(part.refinements for part in parts),
                len(self._seen[row]),
                None if asked.ask.target is None else 1.0 - asked.ask.target,
                self._maps.get(row, {}),
            )
        )


def _phases(asked: Sequence[Asked]) -> list[tuple[list[tuple[Subject, ...]], list[Ask]]]:
    """One phase where the same subjects are refined and moved; else the refinement by itself, and the step after it."""
    mixed = [each.ask.target is not None and each.refined != each.acting for each in asked]
    phases = []
    if any(mixed):
        first = [
            Ask(each.ask.target, False) if alone else Ask(None, False) for each, alone in zip(asked, mixed, strict=True)
        ]
        phases.append(([each.refined for each in asked], first))
    main = [Ask(None if alone else each.ask.target, each.ask.update) for each, alone in zip(asked, mixed, strict=True)]
    phases.append(([each.acting for each in asked], main))
    return phases


def _resized(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask (H, W) at another size; where that is smaller, each cell has its covered share.

    The one that is covered most counts as much as the mask does, so that a small mask is not missed between the points
    of a coarse map, nor asks for a score that it cannot reach.
    """
    if any(side > whole for side, whole in zip(size, mask.shape, strict=True)):
        return F.interpolate(mask[None, None], size, mode="bilinear", align_corners=True)[0, 0]
    covered = F.adaptive_avg_pool2d(mask[None], size)[0]
    most = covered.max()
    return covered * (mask.max() / most) if most > 0 else covered
