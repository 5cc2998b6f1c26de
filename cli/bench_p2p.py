"""`ebca bench p2p`: what it costs that a picture follows another."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.measurement import write_json
from lib_ebca.studio.settings import at_least

from .bench_options import (
    DeviceOption,
    JsonFileOption,
    SizeOption,
    ThreadsOption,
    device_of,
    dtype_of,
    latent_sides,
    one_of,
    told,
)
from .terminal import say

_SMALLEST = 8


def p2p(
    arch: Annotated[str, typer.Option(help="sd15, sd21, sdxl or tiny, with random weights.")] = "sd15",
    size: SizeOption = "32x32",
    repeats: Annotated[int, typer.Option(help="Interleaved rounds; 0 only counts.")] = 15,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    json_file: JsonFileOption = None,
) -> None:
    """Time, memory and arithmetic of a picture that follows another: against stock, and with maps written out."""
    at_least("--repeats", repeats, 0)
    at_least("--threads", threads, 1)
    sides = latent_sides(size, smallest=_SMALLEST)
    import torch

    from benchmarks.architectures import ARCHITECTURES
    from benchmarks.following import measure

    one_of("--arch", arch, ARCHITECTURES)
    torch.set_num_threads(threads)
    report = measure(arch, sides, repeats, device_of(device), dtype_of(dtype), told)
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
