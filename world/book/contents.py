"""What a book shows: which nouns, how often, in which styles and how freely they are placed.

The whole book is more than a training of some hours on a CPU can learn by heart. The primer holds the nouns of the
published prompts in one style, upright and large, so that a small model draws them as what they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .vocabulary import ANIMALS, OBJECTS, OTHERS, STYLES, WEARERS


@dataclass(frozen=True)
class Contents:
    """Nouns: the published prompts' 24, drawn so often (`main_share`), and `others`.

    styles: how often each of STYLES is drawn. coloured: how often animals, objects and others are recoloured.
    single_size, pair_size: smallest and largest side in pixels of a thing alone, and of one of two. max_tilt: radians.
    """

    others: tuple[str, ...] = OTHERS
    main_share: float = 0.6
    styles: tuple[float, ...] = (0.4, 0.25, 0.25, 0.1)
    coloured: tuple[float, float, float] = (0.25, 0.6, 0.4)
    single_size: tuple[float, float] = (66.0, 112.0)
    pair_size: tuple[float, float] = (52.0, 70.0)
    max_tilt: float = math.radians(8)

    @property
    def nouns(self) -> tuple[str, ...]:
        """Every noun that is shown, the published prompts' first."""
        return (*ANIMALS, *OBJECTS, *self.others)

    @property
    def wearers(self) -> tuple[str, ...]:
        """The nouns shown that can wear something."""
        return tuple(noun for noun in WEARERS if noun in self.nouns)

    @property
    def style_names(self) -> tuple[str, ...]:
        """The styles that are drawn."""
        return tuple(style for style, share in zip(STYLES, self.styles, strict=True) if share > 0)

    def share_coloured(self, noun: str) -> float:
        """How often this noun is recoloured."""
        animals, objects, others = self.coloured
        return animals if noun in ANIMALS else objects if noun in OBJECTS else others


WHOLE = Contents()
PRIMER = Contents(
    others=("zebra", "hat"),
    main_share=0.92,
    styles=(0.0, 0.0, 1.0, 0.0),
    coloured=(0.0, 0.8, 0.5),
    single_size=(84.0, 112.0),
    pair_size=(58.0, 70.0),
    max_tilt=0.0,
)
