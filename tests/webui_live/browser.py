"""What the tests of the page do with it. Screenshots go to EBCA_SCREENSHOTS if set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.webui_live.client import WebUI

CHROMIUM = os.environ.get("EBCA_CHROMIUM", "/usr/bin/chromium")
PATIENCE = 240_000


@contextmanager
def browsed(webui: WebUI) -> Iterator[Any]:
    """The page in a headless Chromium, with a model loaded: its tokenizer makes the chips."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the page needs Playwright and a Chromium")
    webui.make(prompt="a cat")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1600})
        page.set_default_timeout(PATIENCE)
        page.goto(f"{webui.url}/?__theme=light", timeout=PATIENCE)
        page.wait_for_selector("#txt2img_ebca_panel", state="attached")
        yield page
        browser.close()


def keep(page: Any, name: str, selector: str | None = None) -> None:
    folder = os.environ.get("EBCA_SCREENSHOTS")
    if folder:
        shown = page if selector is None else page.locator(selector).first
        shown.screenshot(path=str(Path(folder) / f"{name}.png"))


def write(page: Any, text: str) -> None:
    page.fill("#txt2img_prompt textarea", text)


def opened(page: Any) -> None:
    """The accordion is open, as it is not when the page is loaded."""
    if page.locator("#script_txt2img_ebca_preset").is_hidden():
        page.locator("#script_txt2img_ebca_enabled .label-wrap").first.click()
        page.wait_for_selector("#script_txt2img_ebca_preset", state="visible")


def small(page: Any, side: int = 64) -> None:
    """The next picture of txt2img is drawn quickly."""
    for name, value in (("steps", 2), ("width", side), ("height", side)):
        field = page.locator(f"#txt2img_{name} input[type=number]")
        field.fill(str(value))
        field.blur()


def generated(page: Any) -> str:
    """What stands under the next picture of txt2img, or in its place."""
    page.evaluate(
        "document.querySelectorAll('#html_log_txt2img .performance').forEach((each) => each.classList.add('before'))"
    )
    page.click("#txt2img_generate")
    page.wait_for_selector("#html_log_txt2img .performance:not(.before)", state="attached")
    page.wait_for_selector("#txt2img_interrupt", state="hidden")
    return str(page.inner_text("#html_log_txt2img"))
