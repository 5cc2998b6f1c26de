"""A picture of the command line, put into PNG Info in a headless Chromium and sent to txt2img, is drawn again."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.webui_live.browser import keep
from tests.webui_live.client import WebUI
from tests.webui_live.twins import Apart

ROOT = Path(__file__).parents[2]
MODEL = "shapes"
VECTORS = ROOT / "models" / MODEL / "head_relevance.json"
PROMPT = "a red circle and a blue square <boost:square:2>"
OPTIONS = [
    *("--bcu", "0.01:0.02", "--excite", "circle:scale=10", "--concept", "circle:Colours=2"),
    *("--edit", "green:0.5:from=0.2:until=0.9:attn=0.0005:norm=0.0001:gfrom=0.3:guntil=0.8", "--edit", "star:-0.2"),
]
DRAWN = ["--sampling", "webui", "--sampler", "Euler a", "--steps", "10", "--cfg", "3", "--seed", "42"]
FIELDS = {
    "attn": "0.01",
    "norm": "0.02",
    "boosts": "",
    "subjects": "circle",
    "subjects_scale": "10",
    "subjects_until": "0.5",
    "concept_word": "circle",
    "concept_name": "Colours",
    "concept_factor": "2",
    "edit_1_text": "green",
    "edit_1_strength": "0.5",
    "edit_1_start": "0.2",
    "edit_1_until": "0.9",
    "edit_1_attn": "0.0005",
    "edit_1_norm": "0.0001",
    "edit_1_gamma_start": "0.3",
    "edit_1_gamma_until": "0.8",
    "edit_2_text": "star",
    "edit_2_strength": "-0.2",
    "edit_2_gamma_start": "",
    "edit_3_text": "",
}


@pytest.fixture
def drawn(webui: WebUI, tmp_path: Path) -> Path:
    """The command line's picture."""
    titles = [each["title"] for each in webui.get("/sdapi/v1/sd-models")]
    if not any(title.startswith(f"{MODEL}.") for title in titles):
        pytest.skip(f"the WebUI has no checkpoint {MODEL}, the embedded model as python -m training.compvis writes it")
    command = [sys.executable, "-m", "cli", "txt2img", PROMPT, *OPTIONS, *DRAWN, "--out", str(tmp_path), "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=600)
    (picture,) = tmp_path.glob("*.png")
    return picture


def value(page: Any, name: str) -> str:
    """What a field of the accordion holds."""
    shown: str = page.locator(f"#script_txt2img_ebca_{name}").locator("textarea, input").first.input_value()
    return shown


def test_a_picture_of_the_command_line_comes_back(webui: WebUI, page: Any, drawn: Path) -> None:
    with webui.settings(ebca_head_vectors=str(VECTORS)), webui.model(MODEL):
        page.locator("#tabs button", has_text="PNG Info").first.click()
        page.set_input_files("#pnginfo_image input[type=file]", str(drawn))
        page.wait_for_function("document.querySelector('#tab_pnginfo').innerText.includes('EBCA')")
        page.locator("#tab_pnginfo #txt2img_tab").click()
        page.wait_for_function(f"document.querySelector('#txt2img_prompt textarea').value === '{PROMPT}'")
        page.wait_for_function("document.querySelector('#script_txt2img_ebca_edit_2_text textarea').value === 'star'")
        assert page.is_checked("#script_txt2img_ebca_enabled-visible-checkbox")
        assert {name: value(page, name) for name in FIELDS} == FIELDS
        # The WebUI takes every VAE for one that shrinks by 8; the embedded model's shrinks by 4.
        for side in ("width", "height"):
            field = page.locator(f"#txt2img_{side} input[type=number]")
            assert field.input_value() == "64"
            field.fill("128")
            field.blur()
        page.click("#txt2img_generate")
        page.wait_for_function("document.querySelector('#html_info_txt2img').innerText.includes('EBCA: ')")
        page.wait_for_selector("#txt2img_interrupt", state="hidden")
        keep(page, "webui", "#tab_txt2img")
        shown = page.locator("#txt2img_gallery img").first.get_attribute("src")
        again = Image.open(io.BytesIO(page.request.get(shown).body()))
        first = Image.open(drawn)
        apart = Apart.of([again.convert("RGB").tobytes()], [first.convert("RGB").tobytes()])
        print(f"command line against WebUI: {apart}")
        assert apart.largest <= 2
        assert apart.mean <= 0.1
        plan = first.info["parameters"].split("EBCA: ")[1].split('"')[1]
        assert f'EBCA: "{plan}"' in again.info["parameters"]
