"""What holds for every test: no network, and no threads that would wait for each other over tiny tensors."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How fast examples are drawn depends on what else the machine does.
settings.register_profile("ebca", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ebca")


def _multiplies_halves() -> bool:
    import torch  # not everything here needs it

    one = torch.ones(1, 1, dtype=torch.float16)
    try:
        return bool(one @ one == 1)
    except RuntimeError:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Skips what the oldest torch cannot compute at all: float16 on a CPU, which is no fault of ours."""
    try:
        return (yield)
    except RuntimeError as error:
        if "not implemented for 'Half'" in str(error) and not _multiplies_halves():
            pytest.skip("this torch multiplies no float16 on a CPU")
        raise
