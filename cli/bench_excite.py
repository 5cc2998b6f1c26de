"""`ebca bench excite`: what subjects cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
from .errors import sentences
from .terminal import say

if TYPE_CHECKING:
    from benchmarks.excite import Cost
    from benchmarks.excite_count import Counted

_SMALLEST = 8
_MIB = 2**20


def excite(
    arch: Annotated[
        str, typer.Option(help="sd15, sd21, sdxl or tiny, with random weights; sdxl is only counted.")
    ] = "sd15",
    size: SizeOption = "32x32",
    repeats: Annotated[int, typer.Option(help="Interleaved rounds of an altered step; 0 only counts.")] = 5,
    picture_steps: Annotated[int, typer.Option(help="Steps of a picture; the first half is altered.")] = 4,
    picture_repeats: Annotated[int, typer.Option(help="Interleaved rounds of a picture; 0 leaves it out.")] = 3,
    dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "float32",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    json_file: JsonFileOption = None,
) -> None:
    """Time, memory and arithmetic of subjects: against stock, and against the published way written out."""
    with sentences():
        for option, count, least in (
            ("--repeats", repeats, 0),
            ("--picture-repeats", picture_repeats, 0),
            ("--picture-steps", picture_steps, 2),
            ("--threads", threads, 1),
        ):
            at_least(option, count, least)
        # The UNets of these architectures halve the latent three times.
        sides = latent_sides(size, multiple=8, smallest=_SMALLEST)
        import torch

        from benchmarks.architectures import ARCHITECTURES
        from benchmarks.excite import measure

        one_of("--arch", arch, ARCHITECTURES)
        torch.set_num_threads(threads)
        report = measure(
            arch,
            sides,
            repeats,
            picture_steps,
            picture_repeats,
            device_of(device),
            dtype_of(dtype),
            told,
        )
        if json_file is not None:
            write_json(json_file, report.to_dict())
        if json_file == "-":
            return
        say(f"{arch}, latents {sides[0]}x{sides[1]}, {dtype}, {threads} thread(s)")
        _show_count(report.counted)
        _show(f"an altered step, {repeats} rounds", report.step)
        _show(f"a picture of {picture_steps} steps, half of them altered, {picture_repeats} rounds", report.picture)


def _show_count(counted: Counted) -> None:
    from benchmarks.excite_count import MOST_REFINED

    row, stock, published = counted.row, counted.stock, counted.published
    say(f"counted, in forwards of one row ({row / 1e12:.3f} TFLOP; a guided step takes 2):")
    say(f"  a gradient        {counted.gradient / row:.3f}; as published {counted.published_gradient / row:.3f}")
    for name, step in (("an altered step", counted.excite), ("  checkpointed", counted.checkpointed)):
        room = f"{step.peak_bytes / _MIB:.0f} MiB ({(step.peak_bytes - stock.peak_bytes) / _MIB:+.0f})"
        share = (step.peak_bytes - stock.peak_bytes) / (published.peak_bytes - stock.peak_bytes)
        say(
            f"  {name:17} x{step.flops / stock.flops:.3f} of stock, x{step.flops / published.flops:.3f} of the "
            f"published one; at most {room}, {share:.3f} of what that takes"
        )
    say(f"  a refinement      x{counted.refinement_over_published:.3f} of the published one")
    for refinements in (0, MOST_REFINED):
        say(
            f"  50 steps, 25 altered, {refinements} refinements: x{counted.picture(refinements):.3f} of stock, "
            f"as published x{counted.published_picture(refinements):.3f}"
        )


def _show(title: str, costs: tuple[Cost, ...]) -> None:
    if not costs:
        return
    say(f"{title}, over stock:")
    stock = costs[0].peak_bytes
    for each in costs:
        cpu = "" if each.cpu_ratio is None else f"  CPU x{each.cpu_ratio.median:.3f}"
        room = ""
        if each.peak_bytes is not None and stock is not None:
            room = f"  memory {each.peak_bytes / _MIB:.0f} MiB ({(each.peak_bytes - stock) / _MIB:+.0f})"
        low, high = each.ratio.low, each.ratio.high
        say(
            f"  {each.name:22} {each.seconds:8.3f} s  x{each.ratio.median:.3f} [{low:.3f}, {high:.3f}]{cpu}"
            f"  of published x{each.over_published.median:.3f}{room}"
        )
