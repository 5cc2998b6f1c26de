"""The WebUI's batch of img2img, in a headless Chromium: one job that is used again for every file."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from tests.webui_live.client import Made, WebUI, alike, encoded

PROMPT = "a cat wearing a shirt <edit:dog:0.6> <boost:shirt:2.5>"
NUMBERS = {"steps": "3", "width": "64", "height": "64", "cfg_scale": "7", "denoising_strength": "0.7"}


def test_every_file_of_a_batch_has_the_plan(webui: WebUI, page: Any, tmp_path: Path) -> None:
    files = []
    for number, color in enumerate(((200, 90, 40), (30, 120, 60))):
        files.append(tmp_path / f"{number}.png")
        files[-1].write_bytes(base64.b64decode(encoded(color)))
    page.locator("#tabs button", has_text="img2img").first.click()
    page.locator("#mode_img2img button", has_text="Batch").first.click()
    page.set_input_files("#img2img_batch_upload input[type=file]", [str(each) for each in files])
    page.fill("#img2img_prompt textarea", PROMPT)
    for name, value in NUMBERS.items():
        field = page.locator(f"#img2img_{name} input[type=number]").first
        field.fill(value)
        field.blur()
    page.fill("#img2img_seed input", "7")
    page.wait_for_function("document.querySelector('#img2img_batch_upload').innerText.includes('1.png')")
    page.click("#img2img_generate")
    page.wait_for_selector("#html_log_img2img .performance", state="attached")
    page.wait_for_function("document.querySelectorAll('#img2img_gallery .thumbnail-item').length >= 2")
    sampler = page.locator("#img2img_sampling input").first.input_value()
    # Once a picture is open, the gallery shows all of them a second time below it.
    shown = dict.fromkeys(each.get_attribute("src") for each in page.locator("#img2img_gallery img").all())
    pictures = [Image.open(io.BytesIO(page.request.get(each).body())) for each in shown]
    for picture, file in zip(pictures, files, strict=True):
        assert 'EBCA: "<edit:dog:0.6> <boost:shirt:2.5>"' in picture.info["parameters"]
        asked: dict[str, Any] = {
            "kind": "img2img",
            "init_images": [base64.b64encode(file.read_bytes()).decode()],
            "denoising_strength": 0.7,
            "cfg_scale": 7,
            "sampler_name": sampler,
        }
        alone = webui.make(prompt=PROMPT, **asked)
        assert alike(Made((picture.convert("RGB").tobytes(),), ()), Made(alone.pictures, ()), pixels_off=0.05)
        assert not alike(alone, webui.make(prompt="a cat wearing a shirt", **asked))
