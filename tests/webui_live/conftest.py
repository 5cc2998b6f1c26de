"""The WebUI at EBCA_WEBUI_URL; everything here is skipped where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.webui_live.browser import browsed
from tests.webui_live.client import WebUI

URL = os.environ.get("EBCA_WEBUI_URL", "")
PLAIN_URL = os.environ.get("EBCA_WEBUI_PLAIN_URL", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and not URL:
            item.add_marker(pytest.mark.skip(reason="EBCA_WEBUI_URL is not set"))


@pytest.fixture(scope="session")
def webui() -> WebUI:
    return WebUI(URL)


@pytest.fixture(scope="session")
def plain_webui() -> WebUI:
    """A WebUI with the same models and without the extension."""
    if not PLAIN_URL:
        pytest.skip("EBCA_WEBUI_PLAIN_URL is not set")
    return WebUI(PLAIN_URL)


@pytest.fixture(scope="module")
def page(webui: WebUI) -> Iterator[Any]:
    with browsed(webui) as opened:
        yield opened
