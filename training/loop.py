"""The training loop both stages share: learning rate, clipping, moving average, checkpoints, and how many steps fit."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LOG_EVERY = 50
WARM_STEPS, TIMED_STEPS = 15, 25


@dataclass(frozen=True)
class Budget:
    """How long to train: `steps`, or `minutes` turned into steps by a short measurement on this machine."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("budget: give either steps or minutes")
        for value in (self.steps, self.minutes):
            if value is not None and value <= 0:
                raise ValueError(f"budget: steps and minutes must be positive, not {value}")


@dataclass(frozen=True)
class LoopSettings:
    """How to train: the peak learning rate, its warm-up in steps, the moving average and the checkpoints."""

    budget: Budget
    peak_rate: float
    warm_up: int = 200
    decay: float = 0.999
    weight_decay: float = 0.01
    clip: float = 1.0
    checkpoint_seconds: float = 30.0
    snapshots: tuple[float, ...] = ()
    stop_at: int | None = None


DECAY_SHARE = 0.3


def fall(step: int, steps: int) -> float:
    """1, and over the last 30 % of the steps linearly to 0."""
    return min(1.0, (steps - step) / max(1.0, DECAY_SHARE * steps))


def learning_rate(step: int, steps: int, peak: float, warm_up: int) -> float:
    """Linear warm-up (at most a tenth of the run), constant, and over the last 30 % linearly to 0.

    Until the fall begins nothing depends on `steps`, so a run may be made shorter or longer while it is under way.
    """
    warm_up = max(1, min(warm_up, steps // 10))
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * fall(step, steps)


def step_generator(device: torch.device, seed: int, step: int) -> torch.Generator:
    """Randomness that depends on the step alone, so that a resumed run draws what an uninterrupted one would."""
    return torch.Generator(device=device).manual_seed(seed * 1_000_003 + step)


def save_atomically(value: Any, path: Path) -> None:
    """torch.save under another name, then rename: a reader finds the old file or the new one, never a half."""
    part = path.with_suffix(path.suffix + ".part")
    torch.save(value, part)
    part.replace(path)


def write_text_atomically(text: str, path: Path) -> None:
    """Write a text file under another name, then rename it."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


class Average:
    """The exponential moving average of parameters, in float32; slower as training goes on."""

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.values = [p.detach().clone().float() for p in parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.values, list(self.parameters), 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Write the averages into a module built like the one averaged."""
        for target, value in zip(module.parameters(), self.values, strict=True):
            target.copy_(value)


Loss = Callable[[int, int], Tensor]


def reduced_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes in it: a CPU without AVX-512 takes twenty times as long."""
    able = device.type == "cuda" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return torch.autocast(device.type, torch.bfloat16, enabled=able)


def synchronize(device: torch.device) -> None:
    """Wait for the device, so that a clock reads what has been done."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def run_loop(
    module: nn.Module, loss: Loss, settings: LoopSettings, folder: Path, name: str, device: torch.device
) -> nn.Module:
    """Train `module` until its budget is used up, resuming from FOLDER/NAME.ckpt if there is one.

    `loss(step, steps)` returns the scalar of one step. Writes NAME.ckpt, NAME.log.jsonl and, at each share in
    `snapshots`, NAME-070.pt and so on with the averaged weights. Returns a copy of the module with averaged weights.
    `stop_at` ends early, after a checkpoint, as an interruption would.
    """
    checkpoint, log = folder / f"{name}.ckpt", folder / f"{name}.log.jsonl"
    parameters = list(module.parameters())
    state = torch.load(checkpoint, map_location=device, weights_only=True) if checkpoint.exists() else None
    if state is None:
        steps = settings.budget.steps or _measure(module, loss, settings, device)
        print(f"{name}: {steps} steps", flush=True)
    else:
        steps = settings.budget.steps or int(state["steps"])
        module.load_state_dict(state["module"])
    optimizer = _optimizer(parameters, settings, device)
    average = Average(parameters, settings.decay)
    start = 0
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
        average.values = [v.to(device) for v in state["average"]]
        start = int(state["step"])
        print(f"{name}: resuming at step {start} of {steps}", flush=True)

    def save(step: int) -> None:
        record = {
            "step": step,
            "steps": steps,
            "module": module.state_dict(),
            "average": average.values,
            "optimizer": optimizer.state_dict(),
        }
        save_atomically(record, checkpoint)

    marks = [(max(1, round(share * steps)), f"{name}-{round(100 * share):03d}.pt") for share in settings.snapshots]
    saved = began = time.perf_counter()
    module.train()
    for step in range(start, steps):
        value = _train_step(module, loss, step, steps, optimizer, settings)
        average.update(step)
        done = step + 1
        if done % LOG_EVERY == 0 or done == steps:
            number = value.item()
            if not math.isfinite(number):
                raise FloatingPointError(f"{name}: the loss is {number} at step {done}; the last checkpoint is kept")
            seconds = (time.perf_counter() - began) / (done - start)
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": done, "loss": round(number, 5), "seconds_per_step": seconds}) + "\n")
            if done % (20 * LOG_EVERY) == 0 or done == steps:
                print(f"{name}: step {done}/{steps} loss {number:.4f} {1000 * seconds:.1f} ms/step", flush=True)
        for mark in (file for at, file in marks if at == done):
            save_atomically(_averaged(module, average).state_dict(), folder / mark)
        stopping = settings.stop_at == done
        if stopping or done == steps or time.perf_counter() - saved > settings.checkpoint_seconds:
            save(done)
            saved = time.perf_counter()
        if stopping:
            break
    return _averaged(module, average)


def _averaged(module: nn.Module, average: Average) -> nn.Module:
    result = copy.deepcopy(module)
    average.copy_to(result)
    return result.eval()


def _optimizer(parameters: list[nn.Parameter], settings: LoopSettings, device: torch.device) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters,
        lr=settings.peak_rate,
        betas=(0.9, 0.99),
        weight_decay=settings.weight_decay,
        fused=device.type == "cuda",
    )


def _train_step(
    module: nn.Module, loss: Loss, step: int, steps: int, optimizer: torch.optim.Optimizer, settings: LoopSettings
) -> Tensor:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, steps, settings.peak_rate, settings.warm_up)
    value = loss(step, steps)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(module.parameters(), settings.clip)
    optimizer.step()
    return value.detach()


def _measure(module: nn.Module, loss: Loss, settings: LoopSettings, device: torch.device) -> int:
    """Steps that fit into the minutes, from a few steps that are then undone; what this takes counts as used."""
    assert settings.budget.minutes is not None
    before = copy.deepcopy(module.state_dict())
    optimizer = _optimizer(list(module.parameters()), settings, device)
    began = time.perf_counter()
    for step in range(WARM_STEPS):
        _train_step(module, loss, step, 1000, optimizer, settings)
    synchronize(device)
    timed = time.perf_counter()
    for step in range(TIMED_STEPS):
        _train_step(module, loss, step, 1000, optimizer, settings)
    synchronize(device)
    now = time.perf_counter()
    module.load_state_dict(before)
    per_step = (now - timed) / TIMED_STEPS
    left = 60 * settings.budget.minutes - (now - began)
    # A twentieth is kept for checkpoints and for a machine that slows down.
    return max(1, int(0.95 * left / per_step))
