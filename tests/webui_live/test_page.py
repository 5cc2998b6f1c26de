"""The page in a headless Chromium: accordion, word chips, marks, buttons. Screenshots go to EBCA_SCREENSHOTS if set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.webui_live.client import WebUI, alike

CHROMIUM = os.environ.get("EBCA_CHROMIUM", "/usr/bin/chromium")
PATIENCE = 90_000


@pytest.fixture(scope="module")
def page(webui: WebUI) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="the page needs Playwright and a Chromium")
    webui.make(prompt="a cat")  # a model is loaded: its tokenizer makes the chips
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1400, "height": 1600})
        opened.set_default_timeout(PATIENCE)
        opened.goto(webui.url, timeout=PATIENCE)
        opened.wait_for_selector("#txt2img_ebca_panel", state="attached")
        yield opened
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


def test_the_words_become_chips_and_boost(page: Any) -> None:
    write(page, "a cat wearing a shirt")
    chip = page.locator("#txt2img_ebca_panel .ebca-chip", has_text="shirt")
    chip.click()
    page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value.includes('<boost:shirt:2.5>')")
    page.wait_for_selector("#txt2img_ebca_panel .ebca-boosted")
    keep(page, "word-chips", "#txt2img_toprow")
    page.locator("#txt2img_ebca_panel .ebca-boosted").click()
    page.wait_for_function("!document.querySelector('#txt2img_prompt textarea').value.includes('<boost')")


def test_a_fault_is_marked(page: Any) -> None:
    write(page, "a cat <edit:dog> on a sofa")
    page.wait_for_selector("#txt2img_ebca_panel mark")
    assert page.inner_text("#txt2img_ebca_panel mark") == "<edit:dog>"
    keep(page, "directive-check", "#txt2img_toprow")
    write(page, "a cat")
    page.wait_for_selector("#txt2img_ebca_panel mark", state="detached")


def test_edits_go_into_the_prompt_and_come_back(page: Any) -> None:
    write(page, "a cat")
    opened(page)
    page.fill("#script_txt2img_ebca_edit_1_text textarea", "a black dog")
    assert page.locator("#script_txt2img_ebca_edit_2").is_hidden()
    page.click("#script_txt2img_ebca_add_edit")
    page.wait_for_selector("#script_txt2img_ebca_edit_2", state="visible")
    keep(page, "accordion", "#script_txt2img_ebca_enabled")
    page.click("#script_txt2img_ebca_write_edits")
    page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value.includes('<edit:')")
    assert page.input_value("#txt2img_prompt textarea") == "a cat <edit:a black dog:0.6>"
    assert page.input_value("#script_txt2img_ebca_edit_1_text textarea") == ""
    page.click("#script_txt2img_ebca_read_edits")
    page.wait_for_function(
        "document.querySelector('#script_txt2img_ebca_edit_1_text textarea').value === 'a black dog'"
    )
    assert page.input_value("#txt2img_prompt textarea") == "a cat"


def test_the_row_of_concepts_is_in_the_pictures_text(page: Any) -> None:
    small(page)
    write(page, "a cat")
    opened(page)
    page.fill("#script_txt2img_ebca_concept_word textarea", "cat")
    page.click("#script_txt2img_ebca_concept_name input")
    page.locator("ul.options li", has_text="Material").click()
    keep(page, "concepts", "#script_txt2img_ebca_enabled")
    page.check("#script_txt2img_ebca_enabled-visible-checkbox")
    page.click("#txt2img_generate")
    page.wait_for_function(
        "document.querySelector('#html_info_txt2img').innerText.includes('<concept:cat:Material=1>')"
    )
    page.wait_for_selector("#txt2img_interrupt", state="hidden")
    page.fill("#script_txt2img_ebca_concept_word textarea", "")


def small(page: Any) -> None:
    """The next picture of txt2img is drawn quickly."""
    for name, value in (("steps", 2), ("width", 64), ("height", 64)):
        field = page.locator(f"#txt2img_{name} input[type=number]")
        field.fill(str(value))
        field.blur()


def test_a_picture_made_on_the_page_takes_its_fields_to_img2img(page: Any) -> None:
    small(page)
    write(page, "a cat <boost:cat:2>")
    page.click("#txt2img_generate")
    page.wait_for_function("document.querySelector('#html_info_txt2img').innerText.includes('EBCA: ')")
    page.wait_for_selector("#txt2img_interrupt", state="hidden")
    keep(page, "page")
    page.click("#txt2img_send_to_img2img")
    page.wait_for_selector("#script_img2img_ebca_preset", state="visible")
    page.locator("#script_img2img_ebca_advanced .label-wrap").first.click()
    page.wait_for_selector("#script_img2img_ebca_photo", state="visible")
    assert page.input_value("#script_img2img_ebca_edit_1_text textarea") == "a black dog"
    assert page.is_checked("#script_img2img_ebca_enabled-visible-checkbox")
    assert page.input_value("#img2img_prompt textarea") == "a cat <boost:cat:2>"
    page.check("#script_img2img_ebca_photo input")
    keep(page, "edit-this-picture", "#script_img2img_ebca_enabled")
    page.evaluate("switch_to_txt2img()")
    page.wait_for_selector("#txt2img_generate", state="visible")


def test_the_upscale_button_keeps_the_plan(page: Any) -> None:
    small(page)
    write(page, "a cat <boost:cat:2>")
    page.click("#txt2img_upscale")
    page.wait_for_function("document.querySelector('#html_info_txt2img').innerText.includes('Hires upscale')")
    assert "EBCA: " in page.inner_text("#html_info_txt2img")
    page.wait_for_selector("#txt2img_interrupt", state="hidden")


def test_pasting_a_picture_without_ebca_switches_it_off(page: Any) -> None:
    assert page.is_checked("#script_txt2img_ebca_enabled-visible-checkbox")
    write(page, "a castle\nSteps: 2, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64, Version: 1.10.1")
    page.click("#txt2img_tools #paste")
    page.wait_for_function("document.querySelector('#txt2img_prompt textarea').value === 'a castle'")
    page.wait_for_function("!document.querySelector('#script_txt2img_ebca_enabled-visible-checkbox').checked")
    page.wait_for_function("document.querySelector('#script_txt2img_ebca_edit_1_text textarea').value === ''")


def test_a_fault_stops_the_picture_where_the_page_shows_errors(page: Any) -> None:
    small(page)
    write(page, "a cat <edit:dog>")
    page.click("#txt2img_generate")
    page.wait_for_function("document.querySelector('#html_log_txt2img').innerText.includes('<edit:dog>')")
    keep(page, "fault", "#txt2img_results")
    write(page, "a cat")


def test_reload_ui_twice(page: Any, webui: WebUI) -> None:
    before = webui.make(prompt="a cat <edit:dog:0.6>")
    for _ in range(2):
        page.evaluate("document.querySelector('#settings_restart_gradio').click()")
        page.wait_for_selector("#txt2img_ebca_panel", state="detached")
        page.wait_for_selector("#txt2img_ebca_panel", state="attached")
        assert len([each for each in webui.get("/sdapi/v1/script-info") if each["name"] == "ebca"]) == 2
    assert alike(webui.make(prompt="a cat <edit:dog:0.6>"), before)


def test_a_preset_fills_the_fields(page: Any) -> None:
    opened(page)
    page.click("#script_txt2img_ebca_preset input")
    page.locator("ul.options li", has_text="SD 1 inpainting").click()
    page.wait_for_function("document.querySelector('#script_txt2img_ebca_attn input').value === '0.025'")
