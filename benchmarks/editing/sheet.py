"""A picture of the table: its first scenes before and after, two for each kind of edit, not chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lib_ebca.studio.painting import image_of
from lib_ebca.studio.pictures import png, write_over
from lib_ebca.studio.sheet import contact_sheet

from .bench import Question
from .ground import WordedEdit
from .methods import Batch, prepared

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib_ebca.methods.head_vectors import HeadVectors

OF_EACH = 2
CELL, TEXT = 96, 13


def draw_sheet(pipe: Any, question: Question, path: Path, vectors: HeadVectors | None = None) -> None:
    """Write it as PNG: a column for each scene, a row for the scenes as they were and for each method."""
    edits = shown(question)
    before = question.ground.pictures(edits)
    captions = [edit.caption for edit in edits]
    batch = Batch(prepared(pipe), question.steps, before, captions, vectors=vectors)
    rows = [("before", _images(before))]
    rows += [
        (method.name.replace(", ", ",\n"), _images(batch.edited(method, edits).pictures)) for method in question.methods
    ]
    title = f"The first {len(edits)} scenes, not chosen"
    sheet = contact_sheet(title, [edit.heading for edit in edits], rows, cell=CELL, text_size=TEXT)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_over(path, png(sheet))


def shown(question: Question) -> list[WordedEdit]:
    """The table's first scenes, with each kind of edit on the next few of them."""
    edits = question.edits()
    kinds = [kind for kind in question.ground.kinds for _ in range(OF_EACH)]
    return [edits[kind][number] for number, kind in enumerate(kinds[: question.scenes])]


def _images(values: torch.Tensor) -> list[Image]:
    return [image_of(each[None]) for each in values]
