"""The accordion on a page of real gradio in a headless Chromium, with each Python in EBCA_GRADIO_PYTHONS.

The list is separated as PATH is; each of them has a gradio to try: 3.41 is AUTOMATIC1111's, 4.40 is Forge's.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PYTHONS = [each for each in os.environ.get("EBCA_GRADIO_PYTHONS", "").split(os.pathsep) if each]
CHROMIUM = os.environ.get("EBCA_CHROMIUM", "/usr/bin/chromium")
HERE = Path(__file__).parent
SCRIPT = HERE.parents[1] / "javascript" / "ebca.js"
PATIENCE = 60
ROW = "#script_txt2img_ebca_edit_"

pytestmark = pytest.mark.skipif(not PYTHONS, reason="EBCA_GRADIO_PYTHONS is not set")


@pytest.fixture(scope="module", params=PYTHONS or [""])
def page(request: pytest.FixtureRequest) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the page needs Playwright and a Chromium")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
    server = subprocess.Popen([request.param, str(HERE / "gradio_page.py"), str(port)], env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, server)
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            opened = browser.new_page(viewport={"width": 1400, "height": 1600})
            opened.set_default_timeout(PATIENCE * 1000)
            opened.goto(url)
            opened.wait_for_selector("#txt2img_prompt textarea")
            # What the WebUI's own script gives to ours.
            opened.evaluate("() => { window.onUiLoaded = (ready) => ready(); }")
            opened.add_script_tag(path=str(SCRIPT))
            yield opened
            browser.close()
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.poll() is None
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{url} does not answer")


def prompt_is(page: Any, text: str) -> None:
    page.wait_for_function("text => document.querySelector('#txt2img_prompt textarea').value === text", arg=text)


def field_is(page: Any, field: str, value: str) -> None:
    page.wait_for_function("([field, value]) => document.querySelector(field).value === value", arg=[field, value])


def test_rows_are_added_filled_written_read_and_removed(page: Any) -> None:
    page.wait_for_selector(f"{ROW}2", state="hidden")
    page.click("#script_txt2img_ebca_add_edit")
    page.wait_for_selector(f"{ROW}2", state="visible")
    page.fill("#txt2img_prompt textarea", "a cat")
    page.fill(f"{ROW}1_text textarea", "dog: big")
    page.locator(f"{ROW}1_text textarea").blur()
    page.click("#script_txt2img_ebca_write_edits")
    prompt_is(page, "a cat <edit:dog: big:0.6>")
    field_is(page, f"{ROW}1_text textarea", "")
    page.click("#script_txt2img_ebca_read_edits")
    prompt_is(page, "a cat")
    field_is(page, f"{ROW}1_text textarea", "dog: big")
    page.click(f"{ROW}1_remove")
    field_is(page, f"{ROW}1_text textarea", "")


def test_a_preset_fills_the_fields(page: Any) -> None:
    page.click("#script_txt2img_ebca_preset input")
    page.locator("ul.options li", has_text="SD 1 inpainting").click()
    field_is(page, "#script_txt2img_ebca_attn input", "0.025")
    field_is(page, "#script_txt2img_ebca_norm input", "0.025")


def test_a_fault_is_shown(page: Any) -> None:
    page.fill("#txt2img_prompt textarea", "a cat <edit:dog>")
    page.click("#script_txt2img_ebca_read_edits")
    toast = page.locator(".toast-body").first
    assert '"< edit:dog>"' in toast.inner_text()
    prompt_is(page, "a cat <edit:dog>")


def test_editing_a_picture_is_for_img2img(page: Any) -> None:
    assert page.locator("#script_txt2img_ebca_photo").is_hidden()
    page.locator("button", has_text="img2img").first.click()
    page.wait_for_selector("#script_img2img_ebca_photo", state="visible")
