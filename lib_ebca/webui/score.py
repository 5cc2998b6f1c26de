"""The cascades of one pass: one for every stage of the scheduled prompts, since their contexts change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Timetable, TokenFactors
from lib_ebca.attention.record import Recorder
from lib_ebca.webui.encode import Part


class Score:
    """What every step of a pass is to do.

    Args:
        parts: the conditional rows of the batch.
        steps: number of the pass's steps.
        layers: number of the UNet's cross-attention layers.
        mask: (H, W), where the picture pulls at its words, or None for everywhere.
        recorder: keeps energies and maps, or None.
        tell: takes a sentence for the user.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        steps: int,
        layers: int,
        mask: Tensor | None,
        recorder: Recorder | None,
        tell: Callable[[str], None],
    ) -> None:
        self._parts, self._layers, self._mask, self._recorder = parts, layers, mask, recorder
        self._tell = tell
        tables = {part.plan: Timetable.of(part.plan, steps) for part in parts}
        self._timetables = [tables[part.plan] for part in parts]
        self._cascades: dict[tuple[int, ...], Cascade] = {}

    def at(self, step: int) -> Cascade:
        """The cascade of a step, counted from 0."""
        stages = tuple(
            stage
            for part in self._parts
            for stage in (
                *(edit.index(step) for edit in part.edits),
                *([part.boosts.index(step)] if part.boosts else []),
                *([part.factors.index(step)] if part.factors else []),
            )
        )
        if stages not in self._cascades:
            pictures = [self._picture(part, step) for part in self._parts]
            self._cascades[stages] = Cascade(
                pictures, self._timetables, layers=self._layers, recorder=self._recorder, tell=self._tell
            )
        return self._cascades[stages]

    def forget(self) -> None:
        """The network has other weights: what was made of them is made again."""
        self._cascades.clear()

    def _picture(self, part: Part, step: int) -> Picture:
        edits = tuple(scheduled.stages[scheduled.index(step)] for scheduled in part.edits)
        boosts = part.boosts.stages[part.boosts.index(step)] if part.boosts else None
        # A host without an encoder that tells words apart has none of the plan's factors.
        factors = part.factors.stages[part.factors.index(step)] if part.factors else ()
        return Picture(edits, boosts, self._mask, factors or (TokenFactors(()),) * len(part.plan.concepts))
