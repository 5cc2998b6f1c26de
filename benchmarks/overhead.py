"""What one evaluation of the UNet costs with EBCA, against the stock UNet in the same process.

Every way gets its own UNet object over the same weights. Warm-up, counts and memory first; then rounds in which each
way is timed once, so that whatever else the machine does falls on all of them alike. Where an evaluation takes many
seconds, the cross-attention layers can be timed alone: nothing else differs between the ways. Runs as
``ebca bench overhead`` and as ``python -m benchmarks.overhead``.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from . import memory
from .architectures import ARCHITECTURES, Inputs, build, inputs, twin
from .counting import Count, count
from .machine import machine, usable, versions
from .timing import Ratio, Sample, interleaved, paired
from .ways import SETTLED, WAYS, Call, Evaluation, caller, layers_caller, recorded

STOCK = "stock"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
MODES = ("default", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")
SMALLEST_SIZE = 8
WHOLE_ROUNDS = 3
"""Stock evaluations that say what the rest of an evaluation takes, where the layers are timed alone."""

PEAK_EVALUATIONS = SETTLED + 1
"""The first evaluations of a pass make what the later ones keep: the peak is that of all."""


class SettingError(ValueError):
    """A measurement cannot be made as asked. ``str()`` is one sentence: the setting, its value, what would be right."""

    def __init__(self, setting: str, value: object, expected: str) -> None:
        super().__init__(f"{setting} is {value!r}: it should be {expected}")


@dataclass(frozen=True)
class Setting:
    """What to measure.

    Attributes:
        arch: one of :data:`~benchmarks.architectures.ARCHITECTURES`.
        height: of the latent; a picture is eight times as high.
        width: of the latent.
        batch: pictures; each is two rows, unconditional and conditional.
        dtype: one of :data:`DTYPES`.
        device: a torch device.
        threads: CPU threads; left alone where the device is no CPU.
        repeats: rounds. 0 counts and measures memory, and times nothing.
        burst: evaluations in a sample.
        compiled: mode of ``torch.compile``, one of :data:`MODES`; None for eager.
        layers: time the cross-attention layers alone, and add the rest of an evaluation, the same for all ways, as it
            was measured on the stock UNet. Memory is left out.
        ways: names out of :data:`~benchmarks.ways.WAYS`; "stock" is always among them.

    Raises:
        SettingError: a value is not one of these.
    """

    arch: str = "sd15"
    height: int = 32
    width: int = 32
    batch: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    threads: int = 1
    repeats: int = 20
    burst: int = 1
    compiled: str | None = None
    layers: bool = False
    ways: tuple[str, ...] = tuple(name for name, way in WAYS.items() if not way.peer)

    def __post_init__(self) -> None:
        for name, choices in (("arch", ARCHITECTURES), ("dtype", DTYPES)):
            if getattr(self, name) not in choices:
                raise SettingError(name, getattr(self, name), f"one of {', '.join(choices)}")
        least = {"height": SMALLEST_SIZE, "width": SMALLEST_SIZE, "batch": 1, "threads": 1, "repeats": 0, "burst": 1}
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise SettingError(name, getattr(self, name), f"at least {smallest}")
        for way in self.ways:
            if way not in WAYS:
                raise SettingError("variants", way, f"one of {', '.join(WAYS)}")
        if self.compiled is not None and self.compiled not in MODES:
            raise SettingError("compile-mode", self.compiled, f"one of {', '.join(MODES)}")
        if self.layers and self.compiled is not None:
            raise SettingError("layers", self.layers, "left out with --compile: a graph takes the UNet as a whole")
        for way in self.ways if self.layers else ():
            if WAYS[way].peer:
                raise SettingError("variants", way, "one of our own with --layers: peers change other layers as well")
        if not usable(self.device):
            raise SettingError("device", self.device, "one that PyTorch can use on this machine, like cpu or cuda")
        object.__setattr__(self, "ways", (STOCK, *(way for way in dict.fromkeys(self.ways) if way != STOCK)))


@dataclass(frozen=True)
class Compiled:
    """What ``torch.compile`` made of a way.

    Attributes:
        graphs: how many graphs one evaluation fell into while it was warmed up.
        breaks: reasons for a break in a graph.
        recompilations: graphs made after the warm-up.
    """

    graphs: int
    breaks: tuple[str, ...]
    recompilations: int


@dataclass(frozen=True)
class Result:
    """One way.

    Attributes:
        name: in :data:`~benchmarks.ways.WAYS`.
        about: what it is.
        count: one eager evaluation, counted.
        flops_ratio: its arithmetic over the stock's.
        peak_bytes: most memory above the weights and inputs; None where it was not measured, as the next two.
        peak_ratio: that, over the stock's.
        whole_peak_ratio: the same with the weights counted on both sides.
        seconds: median of an evaluation, by the wall clock; None where nothing was timed.
        ratio: of wall-clock time to the stock's.
        cpu_ratio: of the process' CPU time to the stock's: what other processes take does not enter. CPU only.
        fastest_ratio: the fastest sample over the stock's fastest.
        samples: every sample.
        compiled: None if eager.
    """

    name: str
    about: str
    count: Count
    flops_ratio: float
    peak_bytes: int | None
    peak_ratio: float | None
    whole_peak_ratio: float | None
    seconds: float | None
    ratio: Ratio | None
    cpu_ratio: Ratio | None
    fastest_ratio: float | None
    samples: tuple[Sample, ...]
    compiled: Compiled | None


@dataclass(frozen=True)
class Report:
    """A measurement, with all that is needed to make it again."""

    setting: Setting
    machine: dict[str, Any]
    versions: dict[str, str]
    weight_bytes: int
    results: tuple[Result, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON will hold it."""
        return dataclasses.asdict(self)


def measure(setting: Setting, progress: Callable[[str], None] = lambda sentence: None) -> Report:
    """Measure one evaluation of the UNet in every way asked for.

    Args:
        setting: what to measure.
        progress: is told what happens now.
    """
    device = torch.device(setting.device)
    if device.type == "cpu":
        torch.set_num_threads(setting.threads)
    progress(f"building {setting.arch}")
    unet = build(setting.arch, device, DTYPES[setting.dtype])
    given = inputs(unet, setting.batch, (setting.height, setting.width))
    with torch.no_grad(), ExitStack() as stack:
        states = recorded(unet, given) if setting.layers else None
        counts: list[Count] = []
        peaks: list[int] = []
        evaluations: list[Evaluation] = []
        graphs: list[Compiled | None] = []
        for name in setting.ways:
            progress(f"{name}: warm-up, counts, memory")
            eager = twin(unet)
            with WAYS[name].prepare(eager, given, _call(eager, None, states)) as evaluation:
                _settle(evaluation)
                counts.append(count(evaluation.run))
            model = twin(unet)
            call = _call(model, setting.compiled, states)
            evaluation = stack.enter_context(WAYS[name].prepare(model, given, call))
            graphs.append(_warm(evaluation, setting.compiled))
            if not setting.layers:
                peaks.append(_peak(evaluation, device))
            evaluations.append(evaluation)
        progress(f"timing {setting.repeats} rounds of {len(evaluations)}")
        made = _graphs()
        samples = interleaved([each.run for each in evaluations], setting.repeats, setting.burst, device)
        later = _graphs() - made
        if setting.layers:
            counts, samples = _completed(unet, given, counts, samples, device)
    if setting.compiled is not None:
        graphs = [dataclasses.replace(each, recompilations=later) if each else None for each in graphs]
    weights = sum(weight.numel() * weight.element_size() for weight in unet.parameters())
    results = tuple(
        _result(index, setting.ways, counts, peaks, weights, samples, graphs, device)
        for index in range(len(setting.ways))
    )
    return Report(setting, machine(device), versions(), weights, results)


def _call(unet: UNet2DConditionModel, compiled: str | None, states: Sequence[Tensor] | None) -> Call:
    return caller(unet, compiled) if states is None else layers_caller(unet, states)


def _completed(
    unet: UNet2DConditionModel, given: Inputs, counts: list[Count], samples: list[list[Sample]], device: torch.device
) -> tuple[list[Count], list[list[Sample]]]:
    """Counts and times of the layers with the rest of an evaluation added, as the stock UNet has it."""
    call = caller(unet, None)
    whole_count = count(lambda: call(given))
    if not samples[0]:
        return [whole_count + each - counts[0] for each in counts], samples
    (whole,) = interleaved([lambda: call(given)], WHOLE_ROUNDS, 1, device)
    wall, cpu = (
        statistics.median(getattr(each, clock) for each in whole)
        - statistics.median(getattr(each, clock) for each in samples[0])
        for clock in ("wall", "cpu")
    )
    completed = [[Sample(wall + each.wall, cpu + each.cpu) for each in own] for own in samples]
    return [whole_count + each - counts[0] for each in counts], completed


def _warm(evaluation: Evaluation, compiled: str | None) -> Compiled | None:
    """The first evaluations of a pass, and of another one."""
    if compiled is None:
        _settle(evaluation)
        return None
    counters = torch._dynamo.utils.counters
    counters["graph_break"].clear()
    before = _graphs()
    for _ in range(2):
        evaluation.renew()
        _settle(evaluation)
        evaluation.run()
    return Compiled(_graphs() - before, tuple(reason.splitlines()[0] for reason in counters["graph_break"]), 0)


def _settle(evaluation: Evaluation) -> None:
    for _ in range(SETTLED):
        evaluation.run()


def _graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def _peak(evaluation: Evaluation, device: torch.device) -> int:
    evaluation.renew()

    def work() -> None:
        for _ in range(PEAK_EVALUATIONS):
            evaluation.run()

    return memory.peak_bytes(work, device)


def _result(
    index: int,
    names: tuple[str, ...],
    counts: list[Count],
    peaks: list[int],
    weights: int,
    samples: list[list[Sample]],
    graphs: list[Compiled | None],
    device: torch.device,
) -> Result:
    own, stock, peak = samples[index], samples[0], peaks[index] if peaks else None
    wall, stock_wall = [each.wall for each in own], [each.wall for each in stock]
    timed, on_cpu = bool(own), device.type == "cpu"
    return Result(
        name=names[index],
        about=WAYS[names[index]].about,
        count=counts[index],
        flops_ratio=counts[index].flops / counts[0].flops,
        peak_bytes=peak,
        peak_ratio=None if peak is None else peak / peaks[0],
        whole_peak_ratio=None if peak is None else (weights + peak) / (weights + peaks[0]),
        seconds=statistics.median(wall) if timed else None,
        ratio=paired(wall, stock_wall) if timed else None,
        cpu_ratio=paired([s.cpu for s in own], [s.cpu for s in stock]) if timed and on_cpu else None,
        fastest_ratio=min(wall) / min(stock_wall) if timed else None,
        samples=tuple(own),
        compiled=graphs[index],
    )
