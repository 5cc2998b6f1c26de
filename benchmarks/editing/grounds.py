"""Which scenes a model is asked to edit: those of the world that it was made on."""

from __future__ import annotations

import json
from pathlib import Path

from world.book.contents import PRIMER, WHOLE
from world.book.eye import EYE_FILE, load_eye

from ..scorers.clip import ClipEncoder
from ..scorers.loading import scorer_of
from .book_edits import BookGround
from .ground import Ground
from .shapes_edits import ShapesGround

CONTENTS = {"book": WHOLE, "primer": PRIMER}


def ground_of(model: Path) -> Ground:
    """The ground of the model in that folder: a book if an eye lies beside it, which its card names; else shapes."""
    eye = model / "judge" / EYE_FILE
    if not eye.is_file():
        return ShapesGround()
    card = json.loads((model / "card.json").read_text(encoding="utf-8"))
    scorer = scorer_of(model)
    clip = None if scorer is None else ClipEncoder(str(scorer), templated=False)
    return BookGround(load_eye(eye), CONTENTS[card["recipe"]["world"]], clip)
