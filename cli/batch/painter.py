"""Who makes the pictures of a run: holds one model at a time, draws packs, and writes each picture into the store."""

from __future__ import annotations

import gc
import os
import time
import traceback
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from lib_ebca.studio import Studio, pictures
from lib_ebca.studio.errors import UserError

from . import draw
from .estimate import evaluations
from .items import Item
from .memo import Memo, memos_for, remembering
from .outcome import Failed, Made, Note, Outcome
from .packing import Pack, chunks, cut, model_of, packed, shape
from .store import FolderLost, Store, digest_of

if TYPE_CHECKING:
    from lib_ebca.studio import Picture


_WRITERS = 4
# What the libraries say when memory is short, where they have no exception of its own for it.
_SHORT = ("out of memory", "can't allocate memory")


class DeviceLost(UserError):
    """The device does not answer any more: nothing can be drawn in this process."""


@dataclass(frozen=True)
class Terms:
    """How a painter works. `hashes` are those of the models that the folder's pictures were made with."""

    batch_size: int = 4
    device: str | None = None
    allow_pickle: bool = False
    hashes: Mapping[str, str] | None = None


@dataclass
class _Loaded:
    """The model that is there, and the text encodings that were made with it."""

    of: Hashable
    studio: Studio
    memos: dict[str, Memo]


class Painter:
    """Makes pictures for a store. Whatever is wrong with one of them does not touch the others."""

    def __init__(self, url: str, terms: Terms, name: str = "1") -> None:
        self._store = Store(url)
        self._terms = terms
        self._loaded: _Loaded | None = None
        self._limits: dict[Hashable, int] = {}
        self._spoilt: dict[Hashable, Exception] = {}
        self._name = name
        self.loads = 0
        self.batches = 0

    @property
    def encodings(self) -> int:
        """How often a text encoder was asked for the model that is loaded."""
        return 0 if self._loaded is None else sum(memo.encoded for memo in self._loaded.memos.values())

    def pid(self) -> int:
        """The process that the painter is in."""
        return os.getpid()

    def make(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """Makes the pictures, those of one model and one shape together; one outcome for each, and notes.

        Raises DeviceLost and FolderLost.
        """
        ordered = [item for pack in packed(items, len(items)) for item in pack]
        for _, group in groupby(ordered, model_of):
            yield from self._of_one_model(list(group))

    def _of_one_model(self, items: list[Item]) -> Iterator[Outcome]:
        key = model_of(items[0])
        try:
            if key in self._spoilt:
                raise self._spoilt[key]
            loaded = self._load(items[0])
        except Exception as error:
            _refuse_lost(error)
            self._spoilt[key] = error
            yield from (self._failed(item, error) for item in items)
            return
        with remembering(loaded.studio.model.pipe, loaded.memos):
            ready: list[Item] = []
            for item in items:
                try:
                    draw.check(loaded.studio, item)
                    ready.append(item)
                except Exception as error:
                    yield self._failed(item, error)
            yield from self._packs(loaded.studio, ready)

    def _load(self, item: Item) -> _Loaded:
        from lib_ebca.studio.loading import load

        if self._loaded is None or self._loaded.of != model_of(item):
            # Two models at once may not fit.
            self._loaded = None
            _free()
            model = load(replace(item.settings, device=self._terms.device), self._terms.allow_pickle, inpainting=True)
            self.loads += 1
            before = (self._terms.hashes or {}).get(item.settings.model, model.source.model_hash)
            if before != model.source.model_hash:
                raise UserError(
                    f"the folder's pictures were made with the model {item.settings.model} when its hash was {before}; "
                    f"now it is {model.source.model_hash}: give another --out"
                )
            self._loaded = _Loaded(model_of(item), Studio(model), memos_for(model.pipe))
        return self._loaded

    def _packs(self, studio: Studio, items: list[Item]) -> Iterator[Outcome]:
        def kind(item: Item) -> Hashable:
            return shape(item), chunks(item, studio.model.pipe.tokenizer)

        waiting = deque(packed(items, self._terms.batch_size, kind))
        while waiting:
            pack = waiting.popleft()
            limit = self._limits.get(kind(pack[0]), self._terms.batch_size)
            if len(pack) > limit:
                waiting.extendleft(reversed(cut(pack, limit)))
                continue
            error: Exception | None = None
            started = time.perf_counter()
            try:
                drawn = draw.drawn(studio, pack)
            except Exception as raised:
                # Without its traceback, which keeps what the drawing held in memory.
                _refuse_lost(raised)
                error = raised if len(pack) == 1 else raised.with_traceback(None)
            self.batches += 1
            if error is None:
                yield from self._written(studio.model.source.model_hash, pack, drawn, time.perf_counter() - started)
            elif len(pack) == 1:
                yield self._failed(pack[0], error)
            elif _short_of_memory(error):
                half = len(pack) // 2
                self._limits[kind(pack[0])] = half
                error = None
                _free()
                yield Note(f"The device is short of memory for {len(pack)} pictures at once: going on with {half}.")
                waiting.appendleft(pack)
            else:
                # One of them is to blame; alone they show which.
                waiting.extendleft(reversed(cut(pack, 1)))

    def _written(self, model_hash: str, pack: Pack, drawn: tuple[Picture, ...], seconds: float) -> Iterator[Outcome]:
        def write(item: Item, picture: Picture) -> Outcome | FolderLost:
            try:
                data = pictures.png(picture.image, picture.parameters)
                self._store.write(item.name, data)
            except FolderLost as error:
                return error
            except Exception as error:
                return self._failed(item, error)
            return Made(
                key=item.key,
                label=item.label,
                path=item.name,
                bytes=len(data),
                sha256=digest_of(data),
                prompt=item.wanted.prompt,
                seed=item.seed,
                axes=dict(item.axes),
                model=item.settings.model,
                model_hash=model_hash,
                evaluations=evaluations(item),
                seconds=round(seconds / len(pack), 4),
                batch=len(pack),
                comments=picture.comments,
                worker=self._name,
            )

        with ThreadPoolExecutor(_WRITERS) as writers:
            written = list(writers.map(write, pack, drawn))
        yield from (outcome for outcome in written if not isinstance(outcome, FolderLost))
        for lost in written:
            if isinstance(lost, FolderLost):
                raise lost

    def _failed(self, item: Item, error: Exception) -> Failed:
        said = isinstance(error, UserError) or type(error).__module__.startswith("lib_ebca.")
        sentence = str(error) if said else f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        if _short_of_memory(error):
            sentence = "the device has not enough memory for this picture alone: make it smaller, or use another dtype"
        trace = None if said or _short_of_memory(error) else "".join(traceback.format_exception(error))
        return Failed(item.key, item.label, item.place, sentence, trace, self._name)


def _short_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    kind = type(error).__name__
    return kind in ("OutOfMemoryError", "MemoryError") or any(short in text for short in _SHORT)


def _refuse_lost(error: Exception) -> None:
    """After such an error every further call fails too; its pictures are left to a fresh process."""
    if "CUDA error" in str(error) and not _short_of_memory(error):
        first = str(error).splitlines()[0]
        raise DeviceLost(f"the device does not answer any more ({first}): run the same command again") from None


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
