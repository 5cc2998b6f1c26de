"""The methods of the table, each at the best of its candidates.

`ebca bench editing --tune` runs all candidates on scenes of their own and names the best of each method: the one with
the most edits done and the rest kept, among equals the one with the most edits done, then the one that keeps more.
"""

from __future__ import annotations

from dataclasses import replace

from .methods import (
    FIXED_POINT,
    OBJECT,
    PLAIN,
    SCENE,
    FollowSettings,
    Method,
    NoiseSettings,
    PlanSettings,
    SwapSettings,
)
from .shapes_edits import ShapesGround

EBCA, SWAP_PLAIN, SWAP, IMG2IMG = "EBCA", "swapped prompt, plain DDIM inversion", "swapped prompt", "img2img"
P2P, P2P_HRV = "Prompt-to-Prompt", "Prompt-to-Prompt, concepts"
PUBLISHED = "EBCA, published numbers"
# The numbers of the preset cat-to-dog.
CAT_TO_DOG = PlanSettings(7.5, OBJECT, 0.75, 0.65, 0.5, 6e-4)

METHODS = (
    Method(EBCA, PlanSettings(5.0, OBJECT, 1.0, 0.9, 0.3, 6e-4)),
    Method(SWAP_PLAIN, SwapSettings(3.0, negative=False), PLAIN),
    Method(SWAP, SwapSettings(2.0, negative=False), FIXED_POINT),
    Method(IMG2IMG, NoiseSettings(5.0, 0.75), None),
    # The published windows, not tuned.
    Method(P2P, FollowSettings(3.0, 0.8, 0.4)),
    Method(P2P_HRV, FollowSettings(3.0, 0.8, 0.9, concept=True)),
)
"""The first is compared with the others."""

BOOK_METHODS = (
    Method(EBCA, PlanSettings(3.0, SCENE, 3.0, 0.0, 0.2)),
    Method(PUBLISHED, CAT_TO_DOG),
    Method(SWAP_PLAIN, SwapSettings(2.0, negative=False), PLAIN),
    Method(SWAP, SwapSettings(3.0, negative=False), FIXED_POINT),
    Method(IMG2IMG, NoiseSettings(3.0, 0.65), None),
    Method(P2P, FollowSettings(3.0, 0.8, 0.4)),
    Method(P2P_HRV, FollowSettings(3.0, 0.8, 0.9, concept=True)),
)
"""The same for the published edits on scenes of a book."""

_PLANS = (
    PlanSettings(3.0, OBJECT, 1.0, 0.9, 0.2),
    PlanSettings(3.0, OBJECT, 1.0, 0.9, 0.3),
    PlanSettings(3.0, OBJECT, 1.0, 0.9, 0.2, 6e-4),
    PlanSettings(5.0, OBJECT, 1.0, 0.9, 0.3, 6e-4),
    PlanSettings(3.0, SCENE, 1.0, 1.0, 0.2),
    CAT_TO_DOG,
)
_SWAPS = tuple(SwapSettings(guidance, negative) for guidance in (2.0, 3.0) for negative in (False, True))
_FOLLOWS = tuple(
    FollowSettings(guidance, cross, self_) for guidance in (3.0, 5.0) for cross, self_ in ((0.8, 0.4), (0.4, 0.4))
)
_NOISES = tuple(NoiseSettings(guidance, strength) for guidance in (3.0, 5.0) for strength in (0.65, 0.75))

CANDIDATES = (
    *(Method(EBCA, settings) for settings in _PLANS),
    *(Method(SWAP_PLAIN, settings, PLAIN) for settings in _SWAPS),
    *(Method(SWAP, settings, FIXED_POINT) for settings in _SWAPS),
    *(Method(IMG2IMG, settings, None) for settings in _NOISES),
    *(Method(P2P, settings) for settings in _FOLLOWS),
    *(Method(P2P_HRV, replace(settings, self_=0.9, concept=True)) for settings in _FOLLOWS),
)

# Its things are fewer and its words stronger.
_BOOK_PLANS = (
    PlanSettings(3.0, SCENE, 1.0, 1.0, 0.0),
    PlanSettings(3.0, SCENE, 3.0, 0.0, 0.0),
    PlanSettings(3.0, SCENE, 3.0, 0.0, 0.2),
    PlanSettings(5.0, SCENE, 3.0, 0.0, 0.1),
    PlanSettings(3.0, OBJECT, 2.0, 0.9, 0.1),
)

BOOK_CANDIDATES = (
    *CANDIDATES,
    *(Method(EBCA, settings, inversion) for settings in _BOOK_PLANS for inversion in (FIXED_POINT, PLAIN)),
)


def methods_of(world: str, tuning: bool = False) -> tuple[Method, ...]:
    """The methods of a ground, by its name; all candidates if they are to be chosen from."""
    if world == ShapesGround.name:
        return CANDIDATES if tuning else METHODS
    return BOOK_CANDIDATES if tuning else BOOK_METHODS
