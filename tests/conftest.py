"""What holds for every test: no network, and no threads that would wait for each other over tiny tensors."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
