"""Alternative UNets (TensorRT)."""

from __future__ import annotations

from typing import Any

current_unet: Any = None
