"""The page in a headless Chromium: accordion, word chips, marks, buttons."""

from __future__ import annotations

from typing import Any

from tests.webui_live.browser import generated, keep, opened, small, write
from tests.webui_live.client import WebUI, alike

BOOSTED = "shirt \N{MULTIPLICATION SIGN}2.5"
PROMPT_BOX = "document.querySelector('#txt2img_prompt textarea').value"


def test_a_words_chip_goes_from_plain_to_boost_to_subject_and_back(page: Any) -> None:
    write(page, "a cat wearing a shirt")
    chips = page.locator("#txt2img_ebca_panel .ebca-chip", has_text="shirt")
    for clicked, prompt, shown in (
        ("shirt", "a cat wearing a shirt <boost:shirt:2.5>", BOOSTED),
        (BOOSTED, "a cat wearing a shirt <excite:shirt>", "★ shirt"),
        ("★ shirt", "a cat wearing a shirt", "shirt"),
    ):
        chips.get_by_text(clicked, exact=True).click()
        page.wait_for_function(f"{PROMPT_BOX} === '{prompt}'")
        chips.get_by_text(shown, exact=True).wait_for()
        marked = "ebca-boosted" in (chips.first.get_attribute("class") or "")
        assert marked == (shown != "shirt")
        if shown == BOOSTED:
            keep(page, "word-chips", "#txt2img_toprow")


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


def test_subjects_have_a_switch_and_what_acted_stands_under_the_picture(page: Any) -> None:
    small(page, side=128)
    write(page, "a cat <boost:cat:2>")
    opened(page)
    page.check("#script_txt2img_ebca_enabled-visible-checkbox")
    page.fill("#script_txt2img_ebca_edit_1_text textarea", "")
    page.fill("#script_txt2img_ebca_subjects textarea", "cat")
    under = generated(page)
    assert "EBCA acted in 16 layers; evaluations: update (0.01, 0.02, cat at 2) in 2 of 2." in under
    assert "Subjects: the latent was moved in 1 step, refined" in under
    assert "scores cat 0." in under
    assert "<excite:cat>" in page.inner_text("#html_info_txt2img")
    page.uncheck("#script_txt2img_ebca_subjects_on input")
    under = generated(page)
    assert "EBCA acted in 16 layers" in under
    assert "Subjects:" not in under
    assert "<excite:cat>" not in page.inner_text("#html_info_txt2img")
    page.check("#script_txt2img_ebca_subjects_on input")
    page.fill("#script_txt2img_ebca_subjects textarea", "")


def test_negative_gammas_are_refused_without_control(page: Any) -> None:
    small(page)
    write(page, "a cat")
    opened(page)
    page.check("#script_txt2img_ebca_enabled-visible-checkbox")
    page.locator("#script_txt2img_ebca_advanced .label-wrap").first.click()
    page.wait_for_selector("#script_txt2img_ebca_attn", state="visible")
    page.fill("#script_txt2img_ebca_attn input", "-0.05")
    under = generated(page)
    assert "attn is -0.05: it should be 0 or more" in under
    page.check("#script_txt2img_ebca_control input")
    under = generated(page)
    assert "EBCA acted in 16 layers; evaluations: update (-0.05, 0.02) in 2 of 2." in under
    page.uncheck("#script_txt2img_ebca_control input")
    page.fill("#script_txt2img_ebca_attn input", "0.01")
    page.locator("#script_txt2img_ebca_advanced .label-wrap").first.click()


def test_a_picture_made_on_the_page_takes_its_fields_to_img2img(page: Any) -> None:
    small(page)
    write(page, "a cat <boost:cat:2>")
    opened(page)
    page.fill("#script_txt2img_ebca_edit_1_text textarea", "a black dog")
    page.click("#script_txt2img_ebca_edit_1_more")
    page.fill("#script_txt2img_ebca_edit_1_attn input", "0.001")
    page.fill("#script_txt2img_ebca_edit_1_gamma_start textarea", "0.3")
    keep(page, "accordion-advanced", "#script_txt2img_ebca_enabled")
    generated(page)
    assert "<edit:a black dog:0.6:attn=0.001:gfrom=0.3>" in page.inner_text("#html_info_txt2img")
    keep(page, "page", "#tab_txt2img")
    page.click("#txt2img_send_to_img2img")
    page.wait_for_selector("#script_img2img_ebca_preset", state="visible")
    page.locator("#script_img2img_ebca_advanced .label-wrap").first.click()
    page.wait_for_selector("#script_img2img_ebca_photo", state="visible")
    assert page.input_value("#script_img2img_ebca_edit_1_text textarea") == "a black dog"
    assert page.input_value("#script_img2img_ebca_edit_1_gamma_start textarea") == "0.3"
    assert page.input_value("#script_img2img_ebca_edit_1_gamma_until textarea") == ""
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
