"""The UNet class of a Forge that is at hand: the same numbers as in diffusers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lib_ebca.hosts import unet as diffusers_host
from lib_ebca.language.directives import parse
from tests.hosts import tiny_ldm
from tests.hosts.test_forge import INACTIVE, UNCONDITIONAL_FIRST
from tests.hosts.test_ldm import PLANS, assert_same, cascade, inputs, run

FOLDER, PYTHON = (os.environ.get(f"EBCA_FORGE_{each}", "") for each in ("FOLDER", "PYTHON"))
ROOT = Path(__file__).parents[2]
SHAPE: dict[str, Any] = {
    "in_channels": 4,
    "model_channels": 32,
    "out_channels": 4,
    "num_res_blocks": 1,
    "channel_mult": [1, 2],
    "num_heads": 4,
    "use_spatial_transformer": True,
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": tiny_ldm.CONTEXT,
}
MASKS = {"": False, "mask": True}

pytestmark = pytest.mark.skipif(
    not (FOLDER and PYTHON), reason="EBCA_FORGE_FOLDER and EBCA_FORGE_PYTHON name no copy of a Forge and its Python"
)


@pytest.fixture(scope="module")
def ldm_unet() -> nn.Module:
    return tiny_ldm.unet()


@pytest.fixture(scope="module")
def twin(ldm_unet: nn.Module) -> nn.Module:
    return tiny_ldm.twin(ldm_unet)


@pytest.fixture(scope="module")
def theirs(ldm_unet: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the host's own class predicts, under every plan and under none."""
    sample, context = inputs()
    question, answer = (tmp_path_factory.mktemp("forge") / name for name in ("question.pt", "answer.pt"))
    plans = [(f"{name} {mask}", text, masked) for name, text in PLANS.items() for mask, masked in MASKS.items()]
    scores = {name: cascade(parse(text).plan, masked) for name, text, masked in (*plans, ("inactive", INACTIVE, False))}
    asked = {
        "shape": SHAPE,
        "weights": ldm_unet.state_dict(),
        "sample": sample,
        "context": context,
        "times": torch.full((4,), 20.0),
        "rows": UNCONDITIONAL_FIRST,
        "scores": {name: (score.pictures, score.timetables) for name, score in scores.items()},
    }
    torch.save(asked, question)
    command = [PYTHON, "-m", "tests.hosts.forge_own", FOLDER, str(question), str(answer)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return torch.load(answer, weights_only=False)


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("mask", MASKS)
def test_the_same_as_in_diffusers(twin: nn.Module, theirs: Any, name: str, mask: str) -> None:
    score = cascade(parse(PLANS[name]).plan, MASKS[mask])
    there, _ = run(diffusers_host, twin, score, UNCONDITIONAL_FIRST, *inputs())
    here: Tensor
    here, told = theirs["under"][f"{name} {mask}"]
    assert not told
    assert_same([here], [there])
    assert (here - theirs["plain"]).abs().max() > 1e-3


def test_while_nothing_acts_and_afterwards_the_numbers_are_the_host_s_own(theirs: Any) -> None:
    assert torch.equal(theirs["under"]["inactive"][0], theirs["plain"])
    assert torch.equal(theirs["after"], theirs["plain"])


def test_the_layers_are_the_host_s(theirs: Any) -> None:
    assert all("ForgeOperations" in name for name in theirs["layers"])
