"""From a model's name and hash in another program's picture to where that model lies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lib_ebca.language.checks import shortened
from lib_ebca.reading import json_in
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import MODELS, SAFE, embedded, file_hash, path_of

EXPORTED = "compvis.json"
"""Beside an embedded model: the hash of the single file that its weights are for the WebUI."""


def exported_hash(folder: Path) -> tuple[str, ...]:
    """The hash that a folder's model has as a single file, if that is known."""
    try:
        known = json_in(folder / EXPORTED)["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    return (str(known)[:10],)


def find(name: str, digest: str, folders: Sequence[Path]) -> str:
    """What `--model` would say for a model of that name and hash.

    Safetensors files at any depth of the `folders` are looked at: those of the name first, or else all of them. A hash
    decides; a name alone is taken where no hash fits, and what differs is told when the picture is drawn. Embedded
    models are known by their names.

    Raises:
        UserError: there is none, or a folder is none.
    """
    for folder in folders:
        if not path_of(str(folder)).is_dir():
            raise UserError(f"--models {folder} is no folder: give the one that the WebUI keeps its checkpoints in")
    files = sorted(file for folder in folders for file in folder.rglob(f"*{SAFE}") if _is_file(file))
    named = [file for file in files if file.stem == name]
    own = name in embedded()
    if not (own and digest in exported_hash(MODELS / name)):
        for file in named or ([] if own else files):
            if digest and _has_hash(file, digest):
                return str(file)
        if named:
            return str(named[0])
    if own:
        return name
    what = f"the model {shortened(name)!r}" if name else "a model it does not name"
    hint = "say where that is with --model, or name the folder of your checkpoints with --models or EBCA_MODELS"
    raise UserError(f"the picture was made by another program, with {what}: {hint}")


def _is_file(path: Path) -> bool:
    """Whether it is a file that can be seen: a folder of somebody else's is no reason to find nothing beside it."""
    try:
        return path.is_file()
    except OSError:
        return False


def _has_hash(file: Path, digest: str) -> bool:
    try:
        return file_hash(file) == digest
    except OSError:
        return False
