"""The tiny pipelines that the tests of the hosts share."""

from __future__ import annotations

from typing import Any

import pytest

from tests import tiny_pipe


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return getattr(tiny_pipe, request.param)()


@pytest.fixture(scope="module")
def sd1() -> Any:
    return tiny_pipe.sd1()
