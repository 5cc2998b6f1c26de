"""What the benchmarks of cost are asked alike: the network, its size, threads, and where the measurement goes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from lib_ebca.language.checks import shortened
from lib_ebca.studio.errors import UserError

from .terminal import say

if TYPE_CHECKING:
    import torch

SizeOption = Annotated[str, typer.Option(metavar="HxW", help="Of the latents: an eighth of the picture's.")]
DeviceOption = Annotated[str, typer.Option(help="A PyTorch device.")]
ThreadsOption = Annotated[int, typer.Option(help="CPU threads. Several on a busy machine spin, and inflate ratios.")]
JsonFileOption = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the measurement as JSON, - for stdout.")
]
_LARGEST = 512


def latent_sides(size: str, multiple: int = 1, smallest: int = 1) -> tuple[int, int]:
    """Height and width of latents as --size names them. Raises UserError."""
    height, separator, width = size.lower().partition("x")
    sides = [int(side) if side.isdecimal() and len(side) <= 4 else 0 for side in (height, width)]
    if not separator or not all(smallest <= side <= _LARGEST and side % multiple == 0 for side in sides):
        grid = "" if multiple == 1 else f"multiples of {multiple}, "
        raise UserError(f"--size {shortened(size)!r}: it should be height and width of the latents, {grid}like 64x64")
    return sides[0], sides[1]


def one_of(option: str, value: str, known: Iterable[str]) -> None:
    """Raises UserError where the value is none of those known."""
    if value not in known:
        raise UserError(f"{option} is {value!r}: it should be one of {', '.join(known)}")


def device_of(name: str) -> torch.device:
    """The device that --device names. Raises UserError."""
    import torch

    from benchmarks.machine import usable

    if not usable(name):
        raise UserError(
            f"--device is {name!r}: it should be one that PyTorch can use on this machine, like cpu or cuda"
        )
    return torch.device(name)


def dtype_of(name: str) -> torch.dtype:
    """The type that --dtype names. Raises UserError."""
    import torch

    kinds = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    one_of("--dtype", name, kinds)
    return kinds[name]


def told(sentence: str) -> None:
    """Progress, where somebody watches."""
    if sys.stderr.isatty():
        say(sentence, err=True)
