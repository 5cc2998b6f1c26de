"""`ebca bench similarity` on a tiny CLIP and BLIP: which pictures count, with which prompt, and pooled how."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest
import torch
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from benchmarks.scorers.blip import BlipCaptioner, BlipScorer
from benchmarks.scorers.clip import ClipEncoder, ClipScorer
from benchmarks.similarity import pictures_of, similarity
from cli.main import app
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.painting import tensor_of
from tests.benchmarks.test_scorers import item

PAIR, SINGLE, OWN = "a red circle and a blue square", "a red circle", "a blue circle and a red square"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published layout, a picture that carries a prompt, and what is no picture of a prompt."""
    root = tmp_path_factory.mktemp("outputs")
    generator = torch.Generator().manual_seed(0)

    def save(name: str, prompt: str | None = None) -> None:
        pixels = (torch.rand(40, 40, 3, generator=generator) * 255).byte().numpy()
        info = PngImagePlugin.PngInfo()
        if prompt is not None:
            info.add_text("parameters", f"{prompt}\nSteps: 2, Sampler: DDIM, CFG scale: 7.5, Seed: 1")
        (root / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / name, pnginfo=info)

    for seed in (0, 42, 7):
        save(f"{PAIR}/{seed}.png")
    save(f"{SINGLE}/0.png")
    save("00001-1.png", f"{OWN} <excite:circle>")
    save(f"{PAIR}.png")
    save(f"{PAIR}/0-energy.png")
    (root / PAIR / "notes.txt").write_text("nothing")
    return root


def test_which_pictures_count(folder: Path) -> None:
    found = {prompt: [path.name for path in paths] for prompt, paths in pictures_of(folder).items()}
    assert found == {OWN: ["00001-1.png"], SINGLE: ["0.png"], PAIR: ["0.png", "42.png", "7.png"]}


def test_scores_are_the_scorers_own(folder: Path, clip_folder: Path, blip_folder: Path) -> None:
    encoder, captioner = ClipEncoder(str(clip_folder)), BlipCaptioner(str(blip_folder))
    found = similarity(folder, encoder, captioner)
    pictures = torch.cat([tensor_of(Image.open(path)) for path in pictures_of(folder)[PAIR]])
    batch = [item(PAIR)] * 3
    expected = {
        **ClipScorer(encoder).score(pictures, batch),
        **BlipScorer(captioner, encoder).score(pictures, batch),
    }
    for spread in found.prompts[PAIR]:
        values = expected[spread.metric]
        assert spread.pictures == 3
        assert spread.mean == pytest.approx(statistics.fmean(values), abs=1e-5)
        assert spread.std == pytest.approx(statistics.pstdev(values), abs=1e-5)
    assert {spread.metric: spread.pictures for spread in found.scores} == {"full": 5, "minimum": 4, "caption": 5}
    assert found.undivided == (SINGLE,)
    whole = next(spread for spread in found.scores if spread.metric == "full")
    means = [next(each for each in own if each.metric == "full") for own in found.prompts.values()]
    assert whole.mean == pytest.approx(sum(each.mean * each.pictures for each in means) / 5)


def test_the_command(folder: Path, clip_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    asked = ["--scorers", "clip", "--clip", str(clip_folder), "--by-prompt", "--json", str(target)]
    done = CliRunner().invoke(app, ["bench", "similarity", str(folder), *asked])
    assert done.exit_code == 0, done.output
    assert "5 pictures of 3 prompts" in done.output
    assert f"such as {SINGLE!r}" in done.output
    report = json.loads(target.read_text())
    assert [each["metric"] for each in report["scores"]] == ["full", "minimum"]


def test_what_cannot_be_scored_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        pictures_of(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no pictures to score: they should have their prompts written"):
        pictures_of(tmp_path)
    (tmp_path / "a cat").mkdir()
    (tmp_path / "a cat" / "1.png").write_text("no picture")
    with pytest.raises(UserError, match="as a picture"):
        pictures_of(tmp_path)
    done = CliRunner().invoke(app, ["bench", "similarity", str(tmp_path), "--scorers", "judge"])
    assert done.exit_code == 2
    assert "--scorers is 'judge': it should be clip or clip,blip" in " ".join(done.output.split())
