from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from diffusers import PNDMScheduler

from cli.batch.estimate import own_sampler
from lib_ebca.studio.samplers import DEFAULT, default_for
from tests import tiny_pipe


@pytest.mark.parametrize(("predicts", "sampler"), [("epsilon", "PLMS"), ("v_prediction", "DDIM")])
def test_a_velocity_is_sampled_with_ddim(tiny_model: Path, tmp_path: Path, predicts: str, sampler: str) -> None:
    pipe = tiny_pipe.sd1()
    pipe.scheduler = PNDMScheduler(prediction_type=predicts)
    assert default_for(pipe) == sampler
    # The same without loading anything, for the count of evaluations of a batch.
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "prediction_type": predicts}))
    assert own_sampler(str(folder)) == sampler


def test_sdxl_has_euler_whatever_it_predicts(tmp_path: Path) -> None:
    assert default_for(tiny_pipe.sdxl()) == "Euler"
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    assert own_sampler(str(tmp_path)) == "Euler"


@pytest.mark.parametrize("model", ["nobody/knows-this-model", "no-such-name"])
def test_of_a_model_that_is_not_here_the_usual_one_is_expected(model: str) -> None:
    assert own_sampler(model) == DEFAULT
