"""CLIP and BLIP scores of a folder of pictures, pooled flat as the Attend-and-Excite protocol has them."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib_ebca.language.directives import DirectiveError, parse
from lib_ebca.studio import infotext
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.painting import tensor_of
from lib_ebca.studio.pictures import open_picture

from .scorers.blip import BlipCaptioner
from .scorers.clip import ClipEncoder
from .scorers.templates import halves

ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}
FULL, MINIMUM, CAPTION = METRICS = ("full", "minimum", "caption")
"""CLIP similarity of picture and prompt; of the half of the prompt that it resembles less; of BLIP's caption and the
prompt."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (of the population) of one metric over so many pictures."""

    metric: str
    mean: float
    std: float
    pictures: int


@dataclass(frozen=True)
class Similarity:
    """A folder's scores.

    Attributes:
        folder: as it was given.
        scores: over all pictures, whatever their prompts.
        prompts: the same for each prompt.
        undivided: prompts of one object, which cannot be halved: they do not count for "minimum".
    """

    folder: str
    scores: tuple[Spread, ...]
    prompts: dict[str, tuple[Spread, ...]]
    undivided: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON will hold it."""
        return dataclasses.asdict(self)


def pictures_of(folder: Path) -> dict[str, list[Path]]:
    """The pictures of a folder and of the folders in it, by their prompts.

    A picture's prompt is the one written into it, without directives; where none is, and the file is named by a number
    as in ``a cat and a dog/42.png``, its folder's name. Others, such as sheets of many pictures, are passed over.

    Raises:
        UserError: there is no such folder, or no such picture in it.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    found: dict[str, list[Path]] = {}
    for path in sorted((*folder.glob("*"), *folder.glob("*/*"))):
        if path.suffix.lower() not in ENDINGS or not path.is_file():
            continue
        prompt = _written(path)
        if prompt is None and path.parent != folder and path.stem.isdecimal():
            prompt = path.parent.name
        if prompt:
            found.setdefault(prompt, []).append(path)
    if not found:
        raise UserError(
            f"{folder} holds no pictures to score: they should have their prompts written into them, or lie as "
            "PROMPT/SEED.png"
        )
    return found


def similarity(
    folder: Path,
    encoder: ClipEncoder,
    captioner: BlipCaptioner | None,
    progress: Callable[[int, int], None] = lambda done, number: None,
) -> Similarity:
    """Score every picture of a folder.

    Args:
        folder: see :func:`pictures_of`.
        encoder: a CLIP; the published scores are those of ViT-B/16.
        captioner: a BLIP, or None to leave its score out.
        progress: is told how many pictures are done, and of how many.

    Raises:
        UserError: see :func:`pictures_of`; a picture cannot be read.
    """
    found = pictures_of(folder)
    number, done = sum(map(len, found.values())), 0
    scores: dict[str, dict[str, list[float]]] = {}
    for prompt, paths in found.items():
        own: dict[str, list[float]] = {FULL: []}
        parts = halves(prompt)
        for path in paths:
            picture = tensor_of(open_picture(path).convert("RGB"))
            (seen,) = encoder.pictures(picture)
            own[FULL].append(encoder.likeness(seen, prompt))
            if parts is not None:
                own.setdefault(MINIMUM, []).append(min(encoder.likeness(seen, part) for part in parts))
            if captioner is not None:
                (said,) = encoder.texts(captioner.captions(picture))
                own.setdefault(CAPTION, []).append(encoder.likeness(said, prompt))
            done += 1
            progress(done, number)
        scores[prompt] = own
    pooled = {name: [value for own in scores.values() for value in own.get(name, ())] for name in METRICS}
    return Similarity(
        str(folder),
        _spreads(pooled),
        {prompt: _spreads(own) for prompt, own in scores.items()},
        tuple(prompt for prompt in found if halves(prompt) is None),
    )


def _spreads(scores: dict[str, list[float]]) -> tuple[Spread, ...]:
    return tuple(
        Spread(name, statistics.fmean(values), statistics.pstdev(values), len(values))
        for name, values in scores.items()
        if values
    )


def _written(path: Path) -> str | None:
    """The prompt that a picture carries, without directives."""
    text = infotext.from_picture(open_picture(path))
    if text is None:
        return None
    try:
        return parse(infotext.read(text).prompt).text
    except DirectiveError as error:
        raise UserError(f"the prompt in {path} cannot be read: {error}") from None
