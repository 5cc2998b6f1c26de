"""The model that is loaded."""

from __future__ import annotations

from types import SimpleNamespace

model_data = SimpleNamespace(sd_model=None)
