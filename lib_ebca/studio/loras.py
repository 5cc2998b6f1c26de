"""LoRA files: looked at before a model is loaded, and put into one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib_ebca.language.checks import shortened
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import SAFE, file_hash, path_of, refuse_pickle
from lib_ebca.studio.recipe import Lora

_LAYER = re.compile(r"\.(?:processor|lora(?:_\w+)?|to_\w+_lora|alpha)(?:\..*)?$|_lora(?:_\w+)?(?:\..*)?$")
_NAMED = 3  # layers without a place that a note names


def files_of(loras: Sequence[Lora], allow_pickle: bool) -> tuple[Path, ...]:
    """The LoRAs' files. Raises UserError for one that is not there, or may not be opened."""
    files = []
    for lora in loras:
        try:
            path = path_of(lora.path)
        except UserError as error:
            raise UserError(f"--lora {error}") from None
        if not path.is_file():
            raise UserError(f"--lora {lora.path!r}: there is no such file")
        refuse_pickle(path, allow_pickle)
        files.append(path)
    return tuple(files)


def add(pipe: Any, loras: Sequence[Lora], allow_pickle: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Puts the LoRAs into the pipeline: the hashes of their files, and sentences on what found no place there.

    Raises UserError for one that does not fit.
    """
    from safetensors import SafetensorError

    files = files_of(loras, allow_pickle)
    names = [f"lora_{number}" for number in range(len(files))]
    notes: list[str] = []
    for name, lora, path in zip(names, loras, files, strict=True):
        where = {"weight_name": path.name, "local_files_only": True}
        if path.name.endswith(SAFE):
            where["use_safetensors"] = True
        try:
            unplaced = _unplaced(pipe, pipe.lora_state_dict(str(path.parent), unet_config=pipe.unet.config, **where)[0])
            with _unlogged():
                pipe.load_lora_weights(str(path.parent), adapter_name=name, **where)
        except (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, SafetensorError) as error:
            reason = shortened(" ".join(str(error).split()), 400) or type(error).__name__
            raise UserError(f"--lora {lora.path!r} does not fit the model: {reason}") from None
        if unplaced:
            listed = ", ".join(unplaced[:_NAMED]) + (", ..." if len(unplaced) > _NAMED else "")
            count = len(unplaced)
            notes.append(
                f"The LoRA {lora.path} is in part for another model, {count} of its layers do nothing: {listed}."
            )
    if loras:
        if not pipe.get_active_adapters():
            raise UserError(f"--lora {loras[0].path!r}: no layer of the model takes these weights")
        pipe.set_adapters(names, [lora.weight for lora in loras])
    return tuple(file_hash(path) for path in files), tuple(notes)


@contextmanager
def _unlogged() -> Iterator[None]:
    """What diffusers raises it also logs, in many lines."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _unplaced(pipe: Any, weights: Iterable[str]) -> list[str]:
    """The layers that the weights are for and the pipeline has not."""
    layers = dict.fromkeys(_LAYER.sub("", key) for key in weights)
    return [layer for layer in layers if not _is_there(pipe, layer)]


def _is_there(pipe: Any, layer: str) -> bool:
    part, _, rest = layer.partition(".")
    if part.startswith("text_encoder"):
        # Releases of transformers name the layers of a text encoder differently, and diffusers knows how.
        return getattr(pipe, part, None) is not None
    try:
        pipe.unet.get_submodule(rest if part == "unet" else layer)
    except AttributeError:
        return False
    return True
