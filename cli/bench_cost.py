"""`ebca bench overhead` and `ebca bench picture`: what the method costs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from benchmarks.measurement import write_json
from lib_ebca.studio import loading
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.recipe import Settings
from lib_ebca.studio.settings import at_least, checked

from .bench_options import DeviceOption, JsonFileOption, SizeOption, ThreadsOption, latent_sides, told
from .errors import sentences
from .options import AllowPickleOption, ModelOption


def overhead(
    arch: Annotated[str, typer.Option(help="sd15, sd21, sdxl or tiny, with random weights.")] = "sd15",
    size: SizeOption = "32x32",
    batch: Annotated[int, typer.Option(help="Pictures; each is two rows, for guidance is on.")] = 1,
    dtype: Annotated[str, typer.Option(help="float32, float16, bfloat16 or float64.")] = "float32",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    repeats: Annotated[int, typer.Option(help="Interleaved rounds; 0 only counts.")] = 20,
    burst: Annotated[
        int | None,
        typer.Option(help="Evaluations in a sample.  [default: 1, on a GPU 5]", show_default=False),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compile", help="Run every variant through torch.compile.")] = False,
    compile_mode: Annotated[str, typer.Option(help="Mode of torch.compile.")] = "default",
    layers: Annotated[
        bool,
        typer.Option("--layers", help="Time the cross-attention layers alone: fast, and exact where a UNet is slow."),
    ] = False,
    variants: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="stock, off, idle, bcu, bcu+1, bcu+2, bcu+4, edit, 2 edits, moving edit, bcu+moving, and the "
            "peers pag, published, published+2; 'all' for all.  [default: all but the peers]",
            show_default=False,
        ),
    ] = None,
    json_file: JsonFileOption = None,
) -> None:
    """Time and memory of one evaluation of the UNet: stock, BCU and edits side by side."""
    with sentences():
        asked: dict[str, Any] = dict(arch=arch, batch=batch, dtype=dtype, device=device, threads=threads)
        asked |= dict(repeats=repeats, layers=layers)
        asked["burst"] = burst if burst is not None else (1 if device.startswith("cpu") else 5)
        asked["compiled"] = compile_mode if compiled else None
        report = _measured(size, variants, asked)
        if json_file is not None:
            write_json(json_file, report.to_dict())
        if json_file != "-":
            _show(report)


def picture(
    model: ModelOption = None,
    steps: Annotated[int, typer.Option(help="Sampling steps of a picture.")] = 50,
    repeats: Annotated[int, typer.Option(help="Interleaved rounds.")] = 10,
    dtype: Annotated[str | None, typer.Option(help="float32, float16 or bfloat16.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps.  (default: the fastest there is)")] = None,
    threads: ThreadsOption = 1,
    json_file: JsonFileOption = None,
    allow_pickle: AllowPickleOption = False,
) -> None:
    """Time and memory of a whole picture, from the prompt to its pixels: stock, BCU and edits side by side."""
    with sentences():
        for name, value in (("--steps", steps), ("--repeats", repeats), ("--threads", threads)):
            at_least(name, value, 1)
        asked = checked(Settings(model=model or "shapes", device=device, dtype=dtype))
        loaded = loading.load(asked, allow_pickle)
        import torch

        from benchmarks.picture import measure
        from benchmarks.table import show_pictures

        torch.set_num_threads(threads)
        report = measure(loaded.pipe, loaded.source.model, steps, repeats, told)
        if json_file is not None:
            write_json(json_file, report.to_dict())
        if json_file != "-":
            show_pictures(report, _console())


def _measured(size: str, variants: str | None, asked: dict[str, Any]) -> Any:
    height, width = latent_sides(size)
    for name, least in (("batch", 1), ("threads", 1), ("repeats", 0), ("burst", 1)):
        at_least(f"--{name}", asked[name], least)
    from benchmarks.overhead import Setting, SettingError, measure
    from benchmarks.ways import WAYS

    if variants is not None:
        names = (name.strip() for name in variants.split(","))
        asked["ways"] = tuple(WAYS) if variants == "all" else tuple(names)
    try:
        setting = Setting(height=height, width=width, **asked)
    except SettingError as error:
        raise UserError(f"--{error}") from None
    return measure(setting, told)


def _show(report: Any) -> None:
    from benchmarks.table import show

    show(report, _console())


def _console() -> Any:
    from rich.console import Console

    console = Console()
    # A file or a pipe has no width of its own: there the table is not squeezed into eighty columns.
    return console if console.is_terminal else Console(width=200)
