"""ebca info, tokens, models and demo."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cli import demo
from lib_ebca.studio import infotext, locate
from lib_ebca.studio.pictures import open_picture
from tests.cli.conftest import Ebca
from tests.studio.test_infotext import WEBUI

PROMPT = "a (cat:1.2) on a sofa BREAK castle <boost:sofa:2> <boost:castle:3>"


def test_info_prints_what_the_webui_wrote(ebca: Ebca, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("parameters", WEBUI)
    path = tmp_path / "webui.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=text)
    assert ebca("info", path).stdout == WEBUI + "\n"
    told = json.loads(ebca("info", path, "--json").stdout)
    assert told["prompt"].startswith("a (cat:1.2)")
    assert told["fields"]["Seed"] == "3234"


def test_tokens_shows_words_rows_and_boosts(ebca: Ebca, tiny_model: Path) -> None:
    told = json.loads(ebca("tokens", PROMPT, "--model", tiny_model, "--json").stdout)
    words = {word["word"]: word for word in told["words"]}
    assert list(words) == ["a", "cat", "on", "sofa", "castle"]
    assert (words["cat"]["rows"], words["cat"]["weight"], words["cat"]["tokens"]) == ([2], 1.2, ["cat</w>"])
    assert (words["sofa"]["boost"], words["cat"]["boost"]) == (2.0, 1.0)
    assert (words["castle"]["chunk"], words["castle"]["rows"]) == (2, [78])
    assert told["boosts"] == [{"boost": "sofa x 2", "rows": [6]}, {"boost": "castle x 3", "rows": [78]}]
    table = ebca("tokens", PROMPT, "--model", tiny_model).stdout
    assert "boost sofa x 2: rows 6" in table
    assert "cat</w>" in table


def test_tokens_takes_the_options_too(ebca: Ebca, tiny_model: Path) -> None:
    told = json.loads(ebca("tokens", "--bcu", "a cat", "--boost", "*:2", "--model", tiny_model, "--json").stdout)
    assert told["text"] == "a cat"
    assert told["plan"]["update"] == {}
    assert told["boosts"] == [{"boost": "* x 2", "rows": [2]}]


def test_models_lists_the_embedded_with_their_cards(
    ebca: Ebca, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, tmp_path / "embedded" / "small")
    (tmp_path / "embedded" / "small" / "card.json").write_text(json.dumps({"measured": {"colour right": 0.97}}))
    monkeypatch.setattr(locate, "MODELS", tmp_path / "embedded")
    monkeypatch.setattr("cli.models.MODELS", tmp_path / "embedded")
    told = ebca("models").stdout
    assert told.startswith("small  (embedded, ")
    assert "measured.colour right: 0.97" in told
    (listed,) = [json.loads(line) for line in ebca("models", "--json").stdout.splitlines()]
    assert listed["card"] == {"measured": {"colour right": 0.97}}
    drawn = ebca("txt2img", "a cat", "--model", "small", "--steps", 1, "--out", tmp_path / "out", "--json")
    assert Path(json.loads(drawn.stdout)["path"]).is_file()


def test_models_lists_the_hubs_cache(tiny_model: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "hub" / "models--some--tiny" / "snapshots" / "0123"
    shutil.copytree(tiny_model, snapshot)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123")
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": "", "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert "some/tiny  (hub cache, " in run("models")
    out = str(tmp_path / "out")
    drawn = run("txt2img", "a cat", "--model", "some/tiny", "--steps", "1", "--out", out, "--json")
    assert Path(json.loads(drawn)["path"]).is_file()


def test_demo_leaves_a_contact_sheet_and_an_energy_plot(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> None:
    result = ebca("demo", "--model", tiny_model, "--steps", 2, "--out", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "demo" / "contact-sheet.png") in result.stdout
    sheet = open_picture(tmp_path / "demo" / "contact-sheet.png")
    assert sheet.width > 5 * 256
    assert sheet.height > len(demo.SEEDS) * 256
    assert open_picture(tmp_path / "demo" / "energy.png").width > 500
    numbered = sorted((tmp_path / "demo").glob("0*.png"))
    assert len(numbered) == len(demo.VARIANTS) * len(demo.SEEDS)
    info = infotext.read(infotext.from_picture(open_picture(numbered[2])) or "")
    assert info.fields["EBCA"] == demo.VARIANTS[2].directives
