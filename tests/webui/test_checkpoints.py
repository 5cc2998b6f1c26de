"""The checkpoints that a running WebUI is tested with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from lib_ebca.hosts.inversion import latents_of
from lib_ebca.studio.studio import Studio
from tests.tiny_text import tokenizer
from tests.webui_live.checkpoints import CLIP, SEEDS, TWIN, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    made: Path = tmp_path_factory.mktemp("checkpoints")
    assert [path.stem for path in write(made)] == [TWIN, *SEEDS]
    return made


@pytest.mark.parametrize("name", SEEDS)
def test_no_context_has_a_mean_of_nought(folder: Path, name: str) -> None:
    """The WebUI divides by it, and a picture of a context that was divided by nought is not finite."""
    weights = load_file(folder / f"{name}.safetensors")
    config = yaml.safe_load((folder / f"{name}.yaml").read_text())["model"]["params"]
    assert Path(config["cond_stage_config"]["params"]["version"]) == (folder / CLIP).resolve()
    encoder = CLIPTextModel(CLIPTextConfig.from_pretrained(folder / CLIP)).eval()
    prefix = "cond_stage_model.transformer."
    own = {
        key: weights[prefix + (key if key.startswith("text_model.") else f"text_model.{key}")]
        for key in encoder.state_dict()
    }
    encoder.load_state_dict(own)
    tokens = tokenizer()
    for prompt in ("", "dog", "a cat wearing a shirt", "castle, " * 9):
        ids = torch.tensor([tokens(prompt, padding="max_length", max_length=77).input_ids])
        with torch.no_grad():
            assert float(encoder(ids)[0].mean()) > 0.05


def test_the_vocabulary_is_in_the_files_that_the_webui_reads(folder: Path) -> None:
    assert {"vocab.json", "merges.txt", "config.json"} <= {path.name for path in (folder / CLIP).iterdir()}


def test_the_twin_is_one_file_for_both_and_encodes_to_the_mean(folder: Path) -> None:
    studio = Studio.open(str(folder / f"{TWIN}.safetensors"), device="cpu", dtype="float32")
    assert studio.model.pipe.vae_scale_factor == 8
    picture = torch.from_numpy(np.asarray(Image.new("RGB", (64, 64), (200, 90, 40)), np.float32) / 255).movedim(-1, 0)
    encoded = studio.model.pipe.vae.encode(2 * picture[None] - 1).latent_dist
    assert float(encoded.std.detach().max()) < 1e-6
    assert latents_of(studio.model.pipe, picture[None]).shape == (1, 4, 8, 8)
