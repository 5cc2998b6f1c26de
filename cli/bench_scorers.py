"""Who judges the pictures of a benchmark: the judge that fits a model, CLIP, or BLIP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import MODELS, embedded

if TYPE_CHECKING:
    from benchmarks.alignment.bench import Question
    from benchmarks.alignment.scoring import Scorer
    from benchmarks.alignment.tables import Table

SCORERS = ("judge", "clip", "blip")


def folder_of(model: str) -> Path:
    """Where a model lies, if it is a folder at all."""
    return MODELS / model if model in embedded() else Path(model)


def judged(model: str, names: list[str]) -> list[Table]:
    """How often the model's own scorers among these are right, as it was measured, wherever their word is taken."""
    from benchmarks.alignment.page import judge_table, scorer_table

    folder = folder_of(model)
    return [*(judge_table(folder) if "judge" in names else ()), *(scorer_table(folder) if "clip" in names else ())]


def eye_beside(model: str) -> Path | None:
    """The eye that was made with a model of the book world."""
    from benchmarks.alignment.eye_judge import eye_of

    return eye_of(folder_of(model))


def scorer_beside(model: str) -> Path | None:
    """The small CLIP that was made with a model of the book world."""
    from benchmarks.scorers.loading import scorer_of

    return scorer_of(folder_of(model))


def judge_for(question: Question, model: str, device: str) -> Callable[[], Scorer]:
    """What makes the judge that can tell what these prompts ask for."""
    from benchmarks.alignment.eye_judge import EyeJudge
    from benchmarks.alignment.prompts import SHAPES_SETS
    from benchmarks.alignment.scoring import Judge

    eye = eye_beside(model)
    return Judge if eye is None or set(question.sets) <= set(SHAPES_SETS) else lambda: EyeJudge(eye, device)


def checked_scorers(names: list[str], question: Question, eye: Path | None, own_clip: Path | None) -> list[str]:
    """The scorers that are asked for, or those that fit: the judge, and beside it a CLIP of the model's own.

    Raises UserError."""
    from benchmarks.alignment.prompts import SHAPES_SETS
    from benchmarks.alignment.protocols import PUBLISHED_SETS

    known = PUBLISHED_SETS if eye is not None else tuple(SHAPES_SETS)
    judged = not question.files and set(question.sets) <= set(known)
    for name in names:
        if name not in SCORERS:
            raise UserError(f"--scorers {name!r} is not known: choose from {', '.join(SCORERS)}")
    if "judge" in names and not judged:
        raise UserError(f"--scorers judge knows the sets {', '.join(known)} alone: use clip for the others")
    fitting = ["judge"] * judged + ["clip"] * (not judged or own_clip is not None)
    return names or fitting


def scorers_named(
    names: list[str],
    clip: str | None,
    blip: str | None,
    device: str,
    judge: Callable[[], Scorer],
    own_clip: Path | None,
) -> list[Scorer]:
    """The scorers of these names; `clip` and `blip` are their models, `judge` makes the judge.

    Where no CLIP is named, `own_clip` is taken, the model's own: it knows the words of captions and none of the
    protocol's templates. Raises UserError."""
    found: list[Scorer] = [judge()] if "judge" in names else []
    if {"clip", "blip"} & set(names):
        from benchmarks.scorers import blip as blips
        from benchmarks.scorers import clip as clips

        own = clip is None and own_clip is not None
        encoder = clips.ClipEncoder(str(own_clip) if own else clip or clips.DEFAULT, device, templated=not own)
        if "clip" in names:
            found.append(clips.ClipScorer(encoder))
        if "blip" in names:
            found.append(blips.BlipScorer(blips.BlipCaptioner(blip or blips.DEFAULT, device), encoder))
    return found
