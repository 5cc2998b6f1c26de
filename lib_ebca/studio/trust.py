"""What a picture's text may make this machine load: what lies ready here under a name, and the rest at a word."""

from __future__ import annotations

from pathlib import Path

from lib_ebca.language.checks import shortened
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import INDEX, embedded
from lib_ebca.studio.recipe import Settings

TRUST = "--trust-picture"


def refuse_unasked(picture: Path, recorded: Settings, model: str | None, loras: object, vectors: object = None) -> None:
    """Raises UserError for a model, a LoRA or vectors that the picture names and the user did not.

    A picture comes from anywhere: it opens no path and fetches nothing on its own. An embedded model, and one of the
    hub that was fetched before, are loaded. `model`, `loras` and `vectors` are what the user gave instead.
    """
    named = recorded.model
    if model is None and named and named not in embedded() and not _fetched_before(named):
        raise UserError(
            f"the picture {picture} names the model {shortened(named)!r}, which is a path or not on this machine: "
            f"give it with --model, or add {TRUST} if you trust where the picture came from"
        )
    if not loras and recorded.loras:
        raise UserError(
            f"the picture {picture} names the LoRA {shortened(recorded.loras[0].path)!r}: "
            f"give it with --lora, or add {TRUST} if you trust where the picture came from"
        )
    if vectors is None and recorded.vectors:
        raise UserError(
            f"the picture {picture} names the vectors {shortened(recorded.vectors)!r}: "
            f"give them with --vectors, or add {TRUST} if you trust where the picture came from"
        )


def _fetched_before(named: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.utils import HFValidationError

    try:
        # What is both a path and a hub id is taken for a path when it is loaded.
        return not Path(named).exists() and isinstance(try_to_load_from_cache(named, INDEX), str)
    except (HFValidationError, ValueError, OSError):
        return False
