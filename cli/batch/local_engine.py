"""The pictures of a run, made in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from .items import Item
from .outcome import Outcome
from .run import Engine
from .studio import Studio, Terms


def local_engine(url: str, terms: Terms) -> Engine:
    """One studio for the whole run: outcomes come one by one."""

    @contextmanager
    def engine(items: Sequence[Item], hashes: dict[str, str]) -> Iterator[Iterator[Sequence[Outcome]]]:
        studio = Studio(url, replace(terms, hashes=hashes))
        yield ((outcome,) for outcome in studio.make(items))

    return engine
