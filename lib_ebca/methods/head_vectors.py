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
_LARGEST = 2**30  # bytes; SDXL's votes at 51 evaluations are a hundredth of it


class VectorsError(ValueError):
    """Head relevance vectors cannot be read, or are not this model's; one sentence says what would be right."""


class UnknownConceptError(VectorsError):
    """A concept that the vectors do not hold. `concepts` are those they do, `nearest` the most alike, if any."""

    def __init__(self, name: str, concepts: Iterable[str]) -> None:
        self.name, self.concepts = name, tuple(concepts)
        known = {each.lower(): each for each in self.concepts}
        close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
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
        """Write them to a file that :func:`read` understands; votes in place of relevances where they are known."""
        data: dict[str, Any] = {"format": FORMAT, "origin": self.origin, "concepts": self.concepts, "heads": self.heads}
        if self.measured:
            data["measured"] = dict(self.measured)
        if self.counts is None:
            data["relevance"] = _packed(self.relevance.float())
        else:
            data["counts"] = _packed(self.counts.to(torch.int32))
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: str | Path) -> HeadVectors:
    """The vectors of a file. Raises VectorsError where it is not there or is something else."""
    path = Path(path)
    try:
        data = json_in(path)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise VectorsError(f"{path} holds no head relevance vectors: it should be what `ebca heads measure` writes")
        concepts, heads = tuple(map(str, data["concepts"])), tuple(map(int, data["heads"]))
        counts = _unpacked(data["counts"]) if "counts" in data else None
        table = relevance(counts.sum(0)).float() if counts is not None else _unpacked(data["relevance"])
        if table.shape != (len(concepts), sum(heads)):
            raise ValueError(f"a table of {tuple(table.shape)} for {len(concepts)} concepts and {sum(heads)} heads")
        return HeadVectors(concepts, table, heads, str(data["origin"]), counts, data.get("measured", {}))
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


def _unpacked(packed: Mapping[str, Any]) -> Tensor:
    shape, dtype = [int(side) for side in packed["shape"]], _DTYPES[packed["dtype"]]
    size = 4 * math.prod(shape)
    if not 0 < size <= _LARGEST:
        raise ValueError(f"a table of {shape}")
    # No more than it says: a few bytes may stand for gigabytes.
    raw = bytearray(zlib.decompressobj().decompress(base64.b64decode(packed["zlib"], validate=True), size + 1))
    if len(raw) != size:
        raise ValueError(f"a table of {shape} that has other than {size} bytes")
    return torch.frombuffer(raw, dtype=dtype).view(shape)
