"""The pictures of a run, made in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from .items import Item
from .outcome import Outcome
from .painter import Painter, Terms
from .run import Engine


def local_engine(url: str, terms: Terms) -> Engine:
    """One painter for the whole run: outcomes come one by one."""

    @contextmanager
    def engine(items: Sequence[Item], hashes: dict[str, str]) -> Iterator[Iterator[Sequence[Outcome]]]:
        painter = Painter(url, replace(terms, hashes=hashes))
        yield ((outcome,) for outcome in painter.make(items))

    return engine
