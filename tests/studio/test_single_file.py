"""The embedded model as one CompVis-format file: the same weights, the same noise, the same pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from lib_ebca.studio.loading import load, load_tokenizer
from lib_ebca.studio.locate import MODELS
from lib_ebca.studio.recipe import Settings
from tests.cli.conftest import Ebca
from training.compvis import export_compvis


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_compvis(MODELS / "shapes", tmp_path_factory.mktemp("compvis"))[0]


def test_both_loaders_predict_the_same_noise(single: Path) -> None:
    folder, file = (load(Settings(model=name, device="cpu")) for name in ("shapes", str(single)))
    noisy, times = torch.randn(2, 4, 16, 16), torch.tensor([10, 900])
    context, again = (
        m.pipe.encode_prompt("a red circle and a blue square", "cpu", 2, False)[0] for m in (folder, file)
    )
    assert torch.equal(context, again)
    with torch.no_grad():
        expected, found = (m.pipe.unet(noisy, times, context).sample for m in (folder, file))
    assert torch.equal(expected, found)
    assert torch.equal(folder.pipe.vae.decode(noisy).sample, file.pipe.vae.decode(noisy).sample)
    assert file.size == folder.size
    assert file.scheduler_config["prediction_type"] == folder.scheduler_config["prediction_type"]


def test_the_file_draws_and_splits_words(single: Path, ebca: Ebca, tmp_path: Path) -> None:
    for name in ("shapes", str(single)):
        out = tmp_path / Path(name).stem / ("file" if name != "shapes" else "folder")
        done = ebca("txt2img", "a red circle", "--bcu", "--steps", 2, "--seed", 1, "--model", name, "--out", out)
        assert done.exit_code == 0, done.output
    (folder,), (file,) = ((tmp_path / "shapes" / kind).glob("*.png") for kind in ("folder", "file"))
    assert Image.open(folder).tobytes() == Image.open(file).tobytes()
    assert load_tokenizer(str(single)).tokenize("a red circle") == load_tokenizer("shapes").tokenize("a red circle")
