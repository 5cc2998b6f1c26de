"""What holds for every test: no network, and no threads that would wait for each other over tiny tensors."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How fast examples are drawn depends on what else the machine does.
settings.register_profile("ebca", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ebca")
