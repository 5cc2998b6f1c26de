"""A report as a table for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from .overhead import Report, Result
from .picture import PictureReport
from .timing import Ratio

MIB = 2**20


def show(report: Report, console: Console) -> None:
    """Print a report: the machine, then a line for each way, then what compilation did."""
    setting = report.setting
    libraries = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    hardware = ", ".join(f"{name}: {value}" for name, value in report.machine.items())
    console.print(
        f"{setting.arch}, latents {setting.height}x{setting.width}, batch {setting.batch}, {setting.dtype}, "
        f"{setting.device}, {'eager' if setting.compiled is None else 'compiled: ' + setting.compiled}, "
        f"{setting.repeats} rounds of {setting.burst}{', the layers timed alone' if setting.layers else ''}",
        highlight=False,
    )
    console.print(f"{hardware}\n{libraries}\nweights {report.weight_bytes / MIB:.0f} MiB", highlight=False)
    table = Table()
    for name in (
        "",
        "ms",
        "ratio (95 %)",
        "CPU-time ratio (95 %)",
        "fastest",
        "arithmetic",
        "attention",
        "projections",
    ):
        table.add_column(name, justify="left" if not name else "right")
    for name in ("launches", "peak MiB", "ratio", "with weights"):
        table.add_column(name, justify="right")
    for result in report.results:
        table.add_row(*_row(result, report.results[0]))
    console.print(table)
    for result in report.results:
        if result.compiled is not None:
            graphs = result.compiled
            console.print(
                f"{result.name}: {graphs.graphs} graphs, {graphs.recompilations} made while timing; "
                f"breaks: {'; '.join(graphs.breaks) or 'none'}",
                highlight=False,
            )


def show_pictures(report: PictureReport, console: Console) -> None:
    """Print what whole pictures cost: the machine, then a line for each way."""
    libraries = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    hardware = ", ".join(f"{name}: {value}" for name, value in report.machine.items())
    console.print(
        f"{report.model}, {report.width}x{report.height}, {report.steps} steps, {report.repeats} rounds\n"
        f"{hardware}\n{libraries}",
        highlight=False,
    )
    table = Table("")
    for name in ("seconds a picture", "ratio (95 %)", "CPU-time ratio (95 %)", "peak MiB", "ratio"):
        table.add_column(name, justify="right")
    for each in report.results:
        peak = f"{each.peak_bytes / MIB:.1f}"
        table.add_row(
            each.name, f"{each.seconds:.3f}", _ratio(each.ratio), _ratio(each.cpu_ratio), peak, _plain(each.peak_ratio)
        )
    console.print(table)


def _row(result: Result, stock: Result) -> tuple[str, ...]:
    counted, base = result.count, stock.count
    return (
        f"{result.name}: {result.about}",
        "" if result.seconds is None else f"{1000 * result.seconds:.2f}",
        _ratio(result.ratio),
        _ratio(result.cpu_ratio),
        _plain(result.fastest_ratio),
        f"{result.flops_ratio:.4f}",
        f"{counted.attention_calls} ({counted.attention_calls - base.attention_calls:+d})",
        f"{counted.projections} ({counted.projections - base.projections:+d})",
        f"{counted.launches} ({counted.launches - base.launches:+d})",
        "" if result.peak_bytes is None else f"{result.peak_bytes / MIB:.1f}",
        _plain(result.peak_ratio),
        _plain(result.whole_peak_ratio),
    )


def _plain(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.4f}"


def _ratio(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.median:.4f} ({ratio.low:.3f}-{ratio.high:.3f})"
