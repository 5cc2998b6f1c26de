"""Head relevance vectors as a file: concepts, the heads they belong to, and votes or relevances, in one JSON."""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib_ebca.methods.head_order import known_layout
from lib_ebca.methods.head_relevance import SDXL_CLAMP, relevance
from lib_ebca.reading import json_in

FORMAT = "head relevance 1"
SHIPPED = Path(__file__).parent / "vectors"
_DTYPES = {"float32": torch.float32, "int32": torch.int32}
_LARGEST = 2**28  # bytes; SDXL's votes at 51 evaluations are a thirtieth of it
_MOST_HEADS, _MOST_PROMPTS = 1000, 10**9


class VectorsError(ValueError):
    """Head relevance vectors cannot be read, or are not this model's; one sentence says what would be right."""


class UnknownConceptError(VectorsError):
    """A concept that the vectors do not hold. `concepts` are those they do, `nearest` the most alike, if any."""

    def __init__(self, name: str, concepts: Iterable[str]) -> None:
        self.name, self.concepts = name, tuple(concepts)
        known = {each.lower(): each for each in self.concepts}
        close = difflib.get_close_matches(name.lower(), known, cutoff=0.5)
        self.nearest = known[close[0]] if close else None
        meant = f" (did you mean {self.nearest}?)" if self.nearest else ""
        super().__init__(f"there is no concept {name!r}{meant}: the vectors know {', '.join(self.concepts)}")

    def __reduce__(self) -> tuple[type[UnknownConceptError], tuple[str, tuple[str, ...]]]:
        return UnknownConceptError, (self.name, self.concepts)


@dataclass(frozen=True, eq=False)
class HeadVectors:
    """Head relevance vectors of a kind of UNet.

    Attributes:
        concepts: their names, C of them.
        relevance: (C, H) in float32, each row with a mean of 1; H counts the heads layer by layer, down, middle, up.
        heads: the number of heads of each layer.
        origin: in words, where they come from.
        counts: (S, C, H), the votes at each of S evaluations, where they are known.
        measured: what they were measured with: model, prompts, words, seed; empty for published ones.
    """

    concepts: tuple[str, ...]
    relevance: Tensor
    heads: tuple[int, ...]
    origin: str
    counts: Tensor | None = None
    measured: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def counted(
        cls, concepts: Sequence[str], counts: Tensor, heads: Sequence[int], origin: str, measured: Mapping[str, Any]
    ) -> HeadVectors:
        """Vectors of votes, (S, C, H), in the published normalisation."""
        return cls(tuple(concepts), relevance(counts.sum(0)).float(), tuple(heads), origin, counts, measured)

    @property
    def clamp(self) -> float | None:
        """Where relevances are cut unless asked otherwise: at 9 for SDXL, as published, else nowhere."""
        return SDXL_CLAMP if known_layout(self.heads) == "sdxl" else None

    def row(self, concept: str) -> int:
        """The row of a concept, whatever its case. Raises UnknownConceptError."""
        found = [row for row, name in enumerate(self.concepts) if name.lower() == concept.strip().lower()]
        if not found:
            raise UnknownConceptError(concept, self.concepts)
        return found[0]

    def require(self, heads: Sequence[int]) -> None:
        """Refuse a model whose layers have other heads. Raises VectorsError."""
        if tuple(heads) != self.heads:
            raise VectorsError(
                f"the vectors ({self.origin}) are of {len(self.heads)} layers with {sum(self.heads)} heads, and this "
                f"model has {len(heads)} layers with {sum(heads)}: measure its own with `ebca heads measure`"
            )

    def by_layer(self, factors: Tensor) -> tuple[Tensor, ...]:
        """(H,) cut into the heads of each layer."""
        return factors.split(list(self.heads))

    def write(self, path: Path) -> None:
        """Write them to a file that :func:`read` understands."""
        path.write_text(self.to_text(), encoding="utf-8")

    def to_text(self) -> str:
        """The text of a file that :func:`read` understands; votes in place of relevances where they are known."""
        data: dict[str, Any] = {"format": FORMAT, "origin": self.origin, "concepts": self.concepts, "heads": self.heads}
        if self.measured:
            data["measured"] = dict(self.measured)
        if self.counts is None:
            data["relevance"] = _packed(self.relevance.float())
        else:
            data["counts"] = _packed(self.counts.to(torch.int32))
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def read(path: str | Path) -> HeadVectors:
    """The vectors of a file. Raises VectorsError where it is not there or is something else."""
    path = Path(path)
    try:
        data = json_in(path)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise VectorsError(f"{path} holds no head relevance vectors: it should be what `ebca heads measure` writes")
        concepts, heads, origin = _names(data["concepts"]), _numbers_of_heads(data["heads"]), data["origin"]
        measured = data.get("measured", {})
        if not isinstance(origin, str) or not isinstance(measured, dict):
            raise ValueError("origin should be text, and measured a mapping")
        size = len(concepts), sum(heads)
        if "counts" not in data:
            return HeadVectors(concepts, _unpacked(data["relevance"], "float32", size), heads, origin, None, measured)
        counts = _unpacked(data["counts"], "int32", size)
        return HeadVectors(concepts, relevance(counts.sum(0)).float(), heads, origin, counts, _told(measured))
    except OSError as error:
        raise VectorsError(f"{path} cannot be read: {error.strerror or error}") from None
    except VectorsError:
        raise
    except (ValueError, KeyError, TypeError, zlib.error, binascii.Error) as error:
        raise VectorsError(f"{path} is damaged, or no file of head relevance vectors ({error})") from None


def published(heads: Sequence[int]) -> HeadVectors:
    """The authors' vectors for a UNet with these numbers of heads: SD 1 or SDXL.

    Raises:
        VectorsError: the UNet is of another shape.
    """
    family = known_layout(heads)
    if family is None:
        raise VectorsError(
            f"no head relevance vectors are published for a UNet of {len(heads)} layers with {sum(heads)} heads "
            "(SD 1 has 16 with 128, SDXL 70 with 1300): measure its own with `ebca heads measure` and give that file"
        )
    return _shipped(family)


@cache
def _shipped(family: str) -> HeadVectors:
    return read(SHIPPED / f"{family}.json")


def _packed(table: Tensor) -> dict[str, Any]:
    name = next(name for name, dtype in _DTYPES.items() if dtype == table.dtype)
    # The numbers' own bytes, without numpy, which the core does not need.
    raw = bytes(table.contiguous().view(torch.uint8).flatten().tolist())
    return {"dtype": name, "shape": list(table.shape), "zlib": base64.b64encode(zlib.compress(raw, 9)).decode("ascii")}


def _names(concepts: Any) -> tuple[str, ...]:
    named = isinstance(concepts, list) and all(isinstance(each, str) for each in concepts)
    if not named or not all(each.strip() and each.isprintable() for each in concepts):
        raise ValueError("concepts should be a list of names, in letters that can be printed")
    if not 0 < len({each.lower() for each in concepts}) == len(concepts):
        raise ValueError("concepts should be different names, at least one")
    return tuple(concepts)


def _numbers_of_heads(heads: Any) -> tuple[int, ...]:
    if not isinstance(heads, list) or not heads or not all(_whole(each, 1, _MOST_HEADS) for each in heads):
        raise ValueError(f"heads should be a list of each layer's number of them, from 1 to {_MOST_HEADS}")
    return tuple(heads)


def _told(measured: dict[str, Any]) -> dict[str, Any]:
    """What votes were measured with: `done` are the prompts that were drawn."""
    done = measured.get("done", [])
    if not isinstance(done, list) or not all(_whole(each, 0, _MOST_PROMPTS) for each in done):
        raise ValueError("done should be a list of the prompts' numbers")
    return measured


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _unpacked(packed: Any, kind: str, last: tuple[int, int]) -> Tensor:
    """A table of a type whose last two sides are given; votes have a side of evaluations before them."""
    if not isinstance(packed, dict) or packed.get("dtype") != kind:
        raise ValueError(f"the table should be of {kind}")
    shape, dtype = packed["shape"], _DTYPES[kind]
    votes = kind == "int32"
    fits = isinstance(shape, list) and all(_whole(side, 1, _LARGEST) for side in shape)
    if not fits or len(shape) != 2 + votes or tuple(shape[-2:]) != last:
        raise ValueError(f"the table should be one of {last[0]} concepts and {last[1]} heads")
    size = 4 * math.prod(shape)
    if size > _LARGEST:
        raise ValueError(f"a table of {size} bytes")
    # No more than it says: a few bytes may stand for gigabytes.
    raw = bytearray(zlib.decompressobj().decompress(base64.b64decode(packed["zlib"], validate=True), size + 1))
    if len(raw) != size:
        raise ValueError(f"a table of {shape} that has other than {size} bytes")
    table = torch.frombuffer(raw, dtype=dtype).view(shape)
    if not bool(torch.isfinite(table).all()) or (votes and bool((table < 0).any())):
        raise ValueError("the table holds what is no finite number, or fewer votes than none")
    return table
