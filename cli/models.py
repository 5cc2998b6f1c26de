"""`ebca models`: the models that are there without a download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lib_ebca.reading import json_in
from lib_ebca.studio.locate import INDEX, MODELS, embedded

from .options import JsonOption
from .terminal import say, say_json

CARD = "card.json"


@dataclass(frozen=True)
class Listed:
    """A model that `--model` takes by `name`. `card` holds what is known about an embedded one."""

    name: str
    kind: str
    megabytes: float
    card: Mapping[str, Any]


def models(as_json: JsonOption = False) -> None:
    """List the embedded models and those in the hub's cache on this machine."""
    listed = [*_embedded(), *cached()]
    if as_json:
        for model in listed:
            say_json(asdict(model))
        return
    if not listed:
        say("There is no model here: --model also takes a folder, a .safetensors file or a hub id.", err=True)
    for model in listed:
        say(f"{model.name}  ({model.kind}, {model.megabytes:.1f} MB)")
        for name, value in _flat(model.card):
            say(f"    {name}: {value}")


def _embedded() -> list[Listed]:
    return [Listed(name, "embedded", _megabytes(MODELS / name), _card(MODELS / name / CARD)) for name in embedded()]


def cached() -> list[Listed]:
    """The models in the hub's cache that a pipeline can be made of."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.utils import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted(
        (
            Listed(repository.repo_id, "hub cache", repository.size_on_disk / 1e6, {})
            for repository in repositories
            if any(file.file_name == INDEX for revision in repository.revisions for file in revision.files)
        ),
        key=lambda model: model.name,
    )


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def _card(path: Path) -> Mapping[str, Any]:
    try:
        card = json_in(path)
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _flat(card: Mapping[str, Any], owner: str = "") -> list[tuple[str, object]]:
    """The card's figures, nested ones as owner.name; lists and long texts are for reading in the card itself."""
    rows: list[tuple[str, object]] = []
    for name, value in card.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{owner}{name}.")
        elif isinstance(value, (str, int, float)) and len(str(value)) <= 100:
            rows.append((f"{owner}{name}", value))
    return rows
