"""Which head relevance vectors a picture's concepts are looked up in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib_ebca.language.plan import Plan
    from lib_ebca.methods.head_vectors import HeadVectors
    from lib_ebca.studio.loading import Model
    from lib_ebca.studio.recipe import Settings

BESIDE = "head_relevance.json"
"""A file of this name in a model's folder holds the vectors that were measured on it."""


def vectors_of(model: Model, settings: Settings, plans: Sequence[Plan]) -> HeadVectors | None:
    """The vectors that the settings name, or else those in the model's folder.

    None where there is nothing to look up, or where the published ones are meant. Raises VectorsError.
    """
    from pathlib import Path

    from lib_ebca.methods.head_vectors import read

    if not any(plan.named_concepts for plan in plans):
        return None
    if settings.vectors is not None:
        return read(Path(settings.vectors).expanduser())
    return beside(model)


def beside(model: Model) -> HeadVectors | None:
    """The vectors in the model's folder, or None. Raises VectorsError."""
    from lib_ebca.methods.head_vectors import read

    path = None if model.folder is None else model.folder / BESIDE
    return read(path) if path is not None and path.is_file() else None
