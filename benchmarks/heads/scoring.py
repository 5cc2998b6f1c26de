"""What is left of a concept in a picture: by the embedded model's judge, or by CLIP."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lib_ebca.studio.errors import UserError

from ..alignment.prompts import ONE, items, shapes_prompts
from ..alignment.scoring import Judge
from .weakening import Score

JUDGED = ("shapes", "colours", "binding")
_Scored = tuple[tuple[str, ...], tuple[int, ...], Score, tuple[str, ...]]


def judged(metric: str, count: int) -> _Scored:
    """The embedded model's prompts of one object, their seeds, the judge, and the prompt that each picture belongs to.

    Raises:
        UserError: the judge has no such metric.
    """
    if metric not in JUDGED:
        raise UserError(f"--score is {metric!r}: it should be one of {', '.join(JUDGED)}, or clip with --prompts")
    drawn = items(ONE, shapes_prompts(ONE), count)
    judge = Judge()

    def score(pictures: Tensor, numbers: Sequence[int]) -> Sequence[float]:
        return judge.score(pictures, [drawn[number] for number in numbers])[metric]

    texts = tuple(item.prompt.text for item in drawn)
    return texts, tuple(item.noise_seed for item in drawn), score, texts


def resembling(prompts: Sequence[str], word: str | None, count: int, device: str) -> _Scored:
    """Prompts in turn, seeds that count up, CLIP's similarity to a word or to each prompt, and the prompts.

    Raises:
        ScorerError: CLIP cannot be had.
    """
    from ..scorers.clip import ClipEncoder

    encoder = ClipEncoder(device=device)
    texts = tuple(prompts[number % len(prompts)] for number in range(count))

    def score(pictures: Tensor, numbers: Sequence[int]) -> Sequence[float]:
        wanted = encoder.texts([word or texts[number] for number in numbers])
        return [float(value) for value in (encoder.pictures(pictures) * wanted).sum(-1)]

    return texts, tuple(range(count)), score, texts
