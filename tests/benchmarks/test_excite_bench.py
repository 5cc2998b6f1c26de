"""`ebca bench excite`: its peer draws what we draw, its counts are what is claimed, and its report is whole."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch._subclasses import FakeTensorMode
from typer.testing import CliRunner

from benchmarks.architectures import ARCHITECTURES
from benchmarks.excite import WAYS, pipeline, way
from benchmarks.excite_count import Counted, counted
from benchmarks.memory import Held, peak_bytes
from cli.main import app

SIZE = (16, 16)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Tensor]:
    """What each way draws in four steps, two of them altered."""
    pipe = pipeline("tiny", SIZE, torch.device("cpu"), torch.float32)
    found = {}
    for name in WAYS:
        with way(name, pipe, SIZE, 4, 2) as draw:
            found[name] = draw()
    return found


@pytest.mark.parametrize("name", ["excite, checkpointing", "published"])
def test_the_ways_draw_the_same(drawn: dict[str, Tensor], name: str) -> None:
    assert float((drawn["excite"] - drawn["stock"]).abs().max()) > 0.1
    torch.testing.assert_close(drawn[name], drawn["excite"], rtol=0, atol=1e-4)


def test_what_is_read_ends_the_evaluation_and_its_gradient_early() -> None:
    with warnings.catch_warnings():
        # Fake weights have no memory whose address could be asked for.
        warnings.simplefilter("error")
        tiny = counted("tiny", SIZE)
    assert 0 < tiny.gradient < tiny.published_gradient
    assert tiny.stock.peak_bytes <= tiny.checkpointed.peak_bytes <= tiny.excite.peak_bytes < tiny.published.peak_bytes


# What follows builds SD 1 of fake tensors and walks it eight times: half a minute, minutes on a busy machine.


@pytest.fixture(scope="module")
def sd1() -> Counted:
    """SD 1 at 64 x 64 latents, in float32."""
    return counted("sd15", (64, 64))


@pytest.mark.slow
def test_the_arithmetic_of_a_step(sd1: Counted) -> None:
    # In forwards of one row: about half of one, and as much back; published, a whole one and half of it back.
    assert 1.0 < sd1.gradient / sd1.row < 1.1
    assert sd1.published_gradient / sd1.row > 1.5
    assert sd1.excite.flops / sd1.published.flops < 0.88
    # The evaluation that follows is the same on both sides: no gradient is cheap enough for half.
    assert sd1.stock.flops / sd1.published.flops > 0.56


@pytest.mark.slow
def test_the_arithmetic_of_a_picture(sd1: Counted) -> None:
    assert sd1.picture() < 1.28
    assert sd1.published_picture() > 1.6
    assert sd1.refinement_over_published < 0.31
    assert sd1.picture(60) / sd1.published_picture(60) < 0.52


@pytest.mark.slow
def test_the_memory_of_a_step(sd1: Counted) -> None:
    above, published = (each.peak_bytes - sd1.stock.peak_bytes for each in (sd1.excite, sd1.published))
    assert above < published / 10
    assert sd1.checkpointed.peak_bytes - sd1.stock.peak_bytes < 0.05 * 2**30


def test_counted_memory_is_the_allocators() -> None:
    with FakeTensorMode():
        unet = UNet2DConditionModel(**ARCHITECTURES["tiny"]).requires_grad_(False)
        with Held() as held:
            gradient(unet)
    assert held.now == 0
    real = UNet2DConditionModel(**ARCHITECTURES["tiny"]).requires_grad_(False)
    assert held.peak == pytest.approx(peak_bytes(lambda: gradient(real), torch.device("cpu")), rel=0.01)


def gradient(unet: UNet2DConditionModel) -> None:
    leaf = torch.ones(2, 4, 16, 16, requires_grad=True)
    output = unet(leaf * 1, torch.tensor(5), torch.zeros(2, 77, 24)).sample
    torch.autograd.grad(output.sum(), leaf)


def test_the_report_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    asked = [
        "--arch",
        "tiny",
        "--size",
        "16x16",
        "--repeats",
        "2",
        "--picture-steps",
        "2",
        "--picture-repeats",
        "1",
        "--json",
        str(target),
    ]
    done = CliRunner().invoke(app, ["bench", "excite", *asked])
    assert done.exit_code == 0, done.output
    assert "tiny, latents 16x16" in done.output
    report: dict[str, Any] = json.loads(target.read_text())
    assert [each["name"] for each in report["step"]] == [each["name"] for each in report["picture"]] == list(WAYS)
    assert all(each["cpu_ratio"]["median"] > 0 for each in report["step"])


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            ["--size", "20x16"],
            "--size '20x16': it should be height and width of the latents, multiples of 8, like 64x64",
        ),
        (["--arch", "tiny", "--device", "nope"], "--device is 'nope': it should be one that PyTorch can use on this"),
        (["--arch", "tiny", "--dtype", "int8"], "--dtype is 'int8': it should be one of float32, float16, bfloat16"),
        (["--arch", "sd9"], "--arch is 'sd9': it should be one of sd15, sd21, sdxl, tiny"),
        (["--picture-steps", "1"], "--picture-steps is 1: it should be a whole number of at least 2"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(asked: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, ["bench", "excite", *asked])
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())
