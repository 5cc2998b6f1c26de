"""`ebca doctor`: one page about this machine, to be pasted into a report. No path, host or user is named in it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from packaging.version import Version

from lib_ebca.version import __version__

from .options import JsonOption
from .show import protocol
from .terminal import say, say_json

# Each with the oldest version that pyproject.toml promises; None where any will do.
LIBRARIES: Mapping[str, str | None] = {
    "torch": "2.1",
    "diffusers": "0.30",
    "transformers": None,
    "peft": None,
    "accelerate": None,
    "safetensors": None,
    "huggingface_hub": None,
    "numpy": None,
    "pillow": "10.1",
    "pydantic": "2",
    "typer": "0.16",
}
_EXTRAS = {
    "ray": "batches on Ray (--engine ray)",
    "s3fs": "batches into s3:// buckets",
    "tensorboard": "curves in TensorBoard",
    "wandb": "curves in Weights & Biases",
    "skimage": "the photographs of `ebca bench inversions`",
}
_OLDEST_PYTHON = (3, 10)
_STEPS = 2  # of the picture that is tried


@dataclass(frozen=True)
class Fact:
    """A line of the page. `works` is None where there is nothing that could fail."""

    group: str
    name: str
    value: str
    works: bool | None = None


def doctor(
    draw: Annotated[
        bool, typer.Option("--draw/--no-draw", help="Also try a small picture with the embedded model.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Print one page about this machine: versions, device, models, and what works. It names no paths."""
    facts = list(examined(draw))
    if as_json:
        say_json([asdict(fact) for fact in facts])
        return
    group = ""
    for fact in facts:
        if fact.group != group:
            group = fact.group
            say(group)
        mark = {True: "ok ", False: "NO ", None: "   "}[fact.works]
        say(f"  {mark} {fact.name}: {fact.value}")


def examined(draw: bool) -> Iterator[Fact]:
    """All that is found out, in the page's order."""
    yield Fact("This program", "ebca", __version__)
    yield Fact("This program", "installed as", _installed())
    yield Fact(
        "This program",
        "Python",
        f"{platform.python_version()} ({platform.python_implementation()})",
        sys.version_info >= _OLDEST_PYTHON,
    )
    yield Fact(
        "This program", "system", f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}"
    )
    for name, oldest in LIBRARIES.items():
        yield library(name, oldest)
    yield from _devices()
    yield from _models()
    yield webui(Path(__file__).resolve().parents[1])
    yield from _more()
    if draw:
        yield _drawing()


def library(name: str, oldest: str | None) -> Fact:
    """The version of a library that is installed, and whether it is new enough."""
    # Reading distributions brings the whole of `email`, which no other command needs at its start.
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed_version

    try:
        version = installed_version(name)
    except PackageNotFoundError:
        return Fact("Libraries", name, "not installed", False)
    if oldest is not None and Version(version) < Version(oldest):
        return Fact("Libraries", name, f"{version}, and {oldest} or newer is needed", False)
    return Fact("Libraries", name, version, True)


def _installed() -> str:
    if not __name__.startswith("lib_ebca."):
        return "a checkout"
    return "a wheel"


def _devices() -> Iterator[Fact]:
    try:
        import torch
    except ImportError as error:
        yield Fact("Device", "torch", f"cannot be imported: {type(error).__name__}", False)
        return
    yield Fact("Device", "processor", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used; float32", True)
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(number)
            yield Fact("Device", f"cuda:{number}", f"{found.name}, {found.total_memory / 1e9:.0f} GB; float16", True)
    elif torch.version.cuda is not None:
        yield Fact("Device", "cuda", f"torch is built for CUDA {torch.version.cuda}, and finds no usable GPU", False)
    else:
        yield Fact("Device", "cuda", "this torch is built without it")
    if torch.backends.mps.is_available():
        yield Fact("Device", "mps", "float16", True)


def _models() -> Iterator[Fact]:
    from lib_ebca.studio.locate import embedded

    from .models import cached

    names = embedded()
    yield Fact("Models", "embedded", ", ".join(names) or "none: the installation is not whole", bool(names))
    # Whose models somebody has is theirs to tell.
    yield Fact("Models", "in the hub's cache", f"{len(cached())} that can be drawn with")
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    yield Fact("Models", "downloads", "switched off by HF_HUB_OFFLINE" if offline else "allowed")


def webui(checkout: Path) -> Fact:
    """Whether the checkout lies in a WebUI's folder of extensions, and which WebUI that is."""
    root = checkout.parents[1]
    if checkout.parent.name != "extensions" or not (root / "modules").is_dir():
        return Fact("WebUI", "found", "this copy does not lie in the extensions folder of a WebUI")
    if (root / "modules_forge").is_dir():
        return Fact("WebUI", "found", "Forge or a relative", True)
    return Fact("WebUI", "found", "AUTOMATIC1111's, or one built like it", True)


def _more() -> Iterator[Fact]:
    for name, serves in _EXTRAS.items():
        there = importlib.util.find_spec(name) is not None
        yield Fact("Extras", serves, "installed" if there else f"not installed ({name})")
    how = protocol(os.environ)
    yield Fact("Extras", "pictures in the terminal (--show)", how or "this terminal does not say that it can")


def _drawing() -> Fact:
    from lib_ebca.studio import Studio

    started = time.perf_counter()
    try:
        studio = Studio.open()
        (picture,) = studio.draw([studio.recipe("a cat <bcu>", seed=1, steps=_STEPS, guidance=3)])
    except Exception as error:  # whatever it is belongs on the page, and by its kind alone: a message may hold paths
        return Fact("Tried", "a picture of the embedded model", f"failed with {type(error).__name__}", False)
    width, height = picture.image.size
    device = studio.model.pipe.device.type
    seconds = time.perf_counter() - started
    return Fact(
        "Tried",
        "a picture of the embedded model",
        f"{width}x{height} on {device}, loading and all {seconds:.0f} s",
        True,
    )
