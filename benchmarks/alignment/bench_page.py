"""The tables of one `ebca bench alignment` as a block of a page, with the command that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .bench import Answer, Question, tables
from .drawing import Sampling
from .scoring import Scorer
from .tables import Table, markdown

BLOCK = "alignment"


def block_name(protocol: str | None) -> str:
    """Between whose markers the tables of a protocol stand, or those of sets chosen by hand."""
    return BLOCK if protocol is None else f"{BLOCK}-{protocol}"


def block(
    found: Answer,
    scorers: Sequence[Scorer],
    question: Question,
    sampling: Sampling,
    about: Mapping[str, Any],
    command: str,
    judged: Sequence[Table] = (),
) -> str:
    """Markdown: what was drawn with what, a table for each set and its differences, and the judge's own accuracy.

    Args:
        about: "model", "model hash", "sampler", "dtype" and "device".
        command: that made it.
        judged: how often the judge itself is right.
    """
    made = (
        f"The model {about['model']} ({about['model hash']}), {about['sampler']}, {sampling.steps} steps, guidance "
        f"{sampling.guidance:g}, {about['dtype']}, on {about['device']}. Made by `{command}`.\n"
    )
    return "\n".join([made, *map(markdown, (*judged, *tables(found, scorers, question)))])
