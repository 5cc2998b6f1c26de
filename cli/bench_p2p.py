"""`ebca bench p2p`: what it costs that a picture follows another."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from benchmarks.measurement import write_json
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.settings import at_least

from .terminal import say

_SMALLEST, _LARGEST = 8, 512


def p2p(
    arch: Annotated[str, typer.Option(help="sd15, sd21, sdxl or tiny, with random weights.")] = "sd15",
    size: Annotated[str, typer.Option(metavar="HxW", help="Of the latents: an eighth of the picture's.")] = "32x32",
    repeats: Annotated[int, typer.Option(help="Interleaved rounds; 0 only counts.")] = 15,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="A PyTorch device.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads. Several on a busy machine spin, and inflate ratios.")] = 1,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the measurement as JSON, - for stdout.")
    ] = None,
) -> None:
    """Time, memory and arithmetic of a picture that follows another: against stock, and with maps written out."""
    at_least("--repeats", repeats, 0)
    at_least("--threads", threads, 1)
    height, separator, width = size.lower().partition("x")
    sides = [int(side) if side.isdecimal() else 0 for side in (height, width)]
    if not separator or not all(_SMALLEST <= side <= _LARGEST for side in sides):
        raise UserError(f"--size {size!r}: it should be height and width of the latents, like 64x64")
    import torch

    from benchmarks.architectures import ARCHITECTURES
    from benchmarks.following import measure

    kinds = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    for option, value, known in (("--arch", arch, ARCHITECTURES), ("--dtype", dtype, kinds)):
        if value not in known:
            raise UserError(f"{option} is {value!r}: it should be one of {', '.join(known)}")
    torch.set_num_threads(threads)
    report = measure(arch, (sides[0], sides[1]), repeats, torch.device(device), kinds[dtype], _told)
    if json_file is not None:
        write_json(json_file, report.to_dict())
    if json_file == "-":
        return
    say(f"{arch}, latents {sides[0]}x{sides[1]}, {dtype}, {threads} thread(s), {repeats} rounds; over stock:")
    for each in report.results:
        time = cpu = ""
        if each.ratio is not None and each.seconds is not None:
            time = f"  {each.seconds:8.3f} s  x{each.ratio.median:.3f} [{each.ratio.low:.3f}, {each.ratio.high:.3f}]"
        if each.cpu_ratio is not None:
            cpu = f"  CPU x{each.cpu_ratio.median:.3f}"
        say(f"{each.name:12}{time}{cpu}  memory x{each.peak_ratio:.3f}  arithmetic x{each.flops_ratio:.4f}")


def _told(sentence: str) -> None:
    if sys.stderr.isatty():
        say(sentence, err=True)
