"""A folder of reference vectors: one JSON file a case, its tensors beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

MANIFEST = "MANIFEST.json"
OWN_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One reference vector.

    Attributes:
        name: its name, and that of its files.
        level: layer, unet, loop, energy or gamma_schedule, or one of the other methods' levels.
        folder: where its files are, and those of the weights it uses.
    """

    name: str
    level: str
    folder: Path

    @cached_property
    def meta(self) -> dict[str, Any]:
        """What its JSON file says."""
        return _read(self.folder / f"{self.name}.json")

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Its tensors: ``in.*``, ``w.*`` and ``b.*`` go in, ``out32.*`` and ``out64.*`` are what must come out."""
        return load_file(self.folder / f"{self.name}.safetensors")

    def given(self, name: str, dtype: torch.dtype) -> Tensor:
        """One tensor that goes in."""
        return self.tensors[name].to(dtype)

    @property
    def expected(self) -> dict[str, Tensor]:
        """What the float64 run of the reference gave, by name; its counts and numbers too."""
        tensors = {name.removeprefix("out64."): t for name, t in self.tensors.items() if name.startswith("out64.")}
        return tensors | numbers_of(self.meta.get("expected_values") or {})

    def noise(self, name: str) -> float:
        """How far the reference's float32 run came from its float64 run in one tensor."""
        stated = self.meta.get("f32_vs_f64_max_abs", {})
        if name in stated:
            return float(stated[name])
        if f"out64.{name}" not in self.tensors:
            return 0.0  # a count
        return float((self.tensors[f"out32.{name}"].double() - self.tensors[f"out64.{name}"]).abs().max())


def numbers_of(values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Numbers and lists of numbers as float64 tensors, those of nested mappings by their joined names (`a.b`)."""
    found: dict[str, Tensor] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": tensor for inner, tensor in numbers_of(value).items()}
        elif isinstance(value, list) and value and isinstance(value[0], list):
            found |= numbers_of({name: {str(i): inner for i, inner in enumerate(value)}})
        else:
            found[name] = torch.tensor(value, dtype=torch.float64)
    return found


def cases(folder: Path) -> Iterator[Case]:
    """The cases of a folder, by name; a case that the manifest lists belongs to it even if its files are missing.

    Raises:
        ValueError: the folder holds no cases.
    """
    found = {path.stem: _read(path).get("level") for path in folder.glob("*.json") if path.name != MANIFEST}
    if (folder / MANIFEST).is_file():
        listed = {case["name"]: case["level"] for case in _read(folder / MANIFEST)["cases"]}
        found |= {name: level for name, level in listed.items() if level != "weights"}
    named = sorted((name, level) for name, level in found.items() if level is not None)
    if not named:
        raise ValueError(f"{folder} holds no reference vectors: it should have a JSON file for each case")
    yield from (Case(name, level, folder) for name, level in named)


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data
