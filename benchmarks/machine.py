"""What a measurement ran on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import diffusers
import torch


def machine(device: torch.device) -> dict[str, Any]:
    """What it ran on, without the machine's name."""
    found: dict[str, Any] = {"cpu": _cpu_name(), "threads": torch.get_num_threads(), "system": platform.system()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["gpu"] = properties.name
        found["gpu_memory"] = properties.total_memory
    return found


def usable(device: str) -> bool:
    """Whether tensors can be made and computed with on a device of that name."""
    try:
        return torch.zeros((), device=device).device.type != "meta"
    except (RuntimeError, AssertionError):
        return False


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of what the time is spent in."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "cuda": str(torch.version.cuda),
    }
