"""What drawing a batch gives, and when it gives nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.recipe import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from lib_ebca.hosts.diffusers import Run


@dataclass(frozen=True)
class Drawn:
    """The pictures of one batch, in the order of its recipes, and what was recorded on the way."""

    images: tuple[Image, ...]
    run: Run
    seconds: float

    def comments(self, place: int) -> tuple[str, ...]:
        """Sentences on the picture at that place of its batch."""
        return (*self.run.comments, *self.subjects_told(place))

    def subjects_told(self, place: int) -> tuple[str, ...]:
        """Those on its subjects alone, without what is to be said of the whole batch."""
        from lib_ebca.attention.excite_record import subjects_told

        return subjects_told(self.run.excited, place)


def refuse_endless(decoded: Tensor, recipes: Sequence[Recipe]) -> None:
    """Raises UserError where one of (n, 3, H, W) is not finite: a sampler that ran away leaves a black picture."""
    for recipe, values in zip(recipes, decoded, strict=True):
        if not bool(values.isfinite().all()):
            raise UserError(
                f"the picture of seed {recipe.seed} is not finite, its numbers grew beyond all bounds: lower --cfg and "
                "the strengths of the plan, or use --dtype float32"
            )
