"""The stand-in host, started anew for every test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.webui.host import started


@pytest.fixture
def host() -> Iterator[Any]:
    with started() as running:
        yield running
        assert running.clean()
