"""`ebca inpaint` on the tiny model, on one made for inpainting, and with RePaint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, UNet2DConditionModel
from PIL import Image

from lib_ebca.studio import infotext
from tests.cli.conftest import SIZE, Ebca, tiny_pipeline
from tests.cli.test_edit import line_of, photograph, pixels

__all__ = ["photograph"]


@pytest.fixture(scope="session")
def nine_channels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as one made for inpainting."""
    parts = tiny_pipeline().components
    torch.manual_seed(1)
    unet = UNet2DConditionModel.from_config(parts["unet"].config, in_channels=9)
    folder = tmp_path_factory.mktemp("models") / "tiny-inpainting"
    pipe = StableDiffusionInpaintPipeline(**{**parts, "unet": unet}, requires_safety_checker=False)
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """White on the left half."""
    path = tmp_path / "mask.png"
    image = Image.new("L", (SIZE, SIZE))
    image.paste(255, (0, 0, SIZE // 2, SIZE))
    image.save(path)
    return path


@pytest.fixture
def inpaint(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> Ebca:
    common = ("--model", tiny_model, "--steps", 4, "--seed", 1, "--out", tmp_path / "out")
    return lambda *arguments: ebca("inpaint", *common, *arguments)


WAYS = {"plain": (), "repaint": ("--repaint", "--jump-length", 2, "--jump-count", 2)}


@pytest.mark.parametrize("way", ["plain", "repaint", "nine"])
@pytest.mark.parametrize("size", [(SIZE, SIZE), (61, 37)])
def test_outside_the_mask_every_bit_comes_back(
    inpaint: Ebca, nine_channels: Path, tmp_path: Path, way: str, size: tuple[int, int]
) -> None:
    options = ("--model", nine_channels) if way == "nine" else WAYS[way]
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    white = np.zeros((size[1], size[0]), dtype=np.uint8)
    white[5:20, 7:30] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    arguments = (tmp_path / "photo.png", tmp_path / "mask.png", "a dog", "--bcu", "0.025:0.025", *options, "--json")
    line = line_of(inpaint(*arguments, "--feather", 3))
    assert line["comments"] == []
    found = pixels(line["path"])
    assert np.array_equal(found[white == 0], values[white == 0])
    assert (found[white > 0] != values[white > 0]).mean() > 0.5
    loose = pixels(line_of(inpaint(*arguments, "--no-paste-back"))["path"])
    assert not np.array_equal(loose[white == 0], values[white == 0])


@pytest.mark.parametrize("way", ["plain", "repaint", "nine"])
def test_the_mask_gates_the_update(
    inpaint: Ebca, nine_channels: Path, photograph: Path, mask: Path, tmp_path: Path, way: str
) -> None:
    options = ("--model", nine_channels) if way == "nine" else WAYS[way]
    full = tmp_path / "full.png"
    common = ("a dog", *options, "--no-paste-back", "--json")
    stock, moved = (
        pixels(line_of(inpaint(photograph, mask, *common, *plan))["path"]) for plan in ((), ("--bcu", "3:0"))
    )
    assert np.abs(stock - moved).max() > 0
    Image.new("L", (SIZE, SIZE), 255).save(full)
    assert np.abs(moved - pixels(line_of(inpaint(photograph, full, *common, "--bcu", "3:0"))["path"])).max() > 0


@pytest.mark.parametrize("way", ["plain", "repaint"])
def test_from_repeats_it(inpaint: Ebca, photograph: Path, mask: Path, ebca: Ebca, tmp_path: Path, way: str) -> None:
    first = line_of(inpaint(photograph, mask, "a dog", "--feather", 2, *WAYS[way], "--preset", "inpaint", "--json"))
    out = ("--out", tmp_path / "out", "--trust-picture")
    again = line_of(ebca("inpaint", photograph, mask, "--from", first["path"], *out, "--json"))
    assert np.array_equal(pixels(first["path"]), pixels(again["path"]))
    with Image.open(again["path"]) as image:
        fields = infotext.read(str(infotext.from_picture(image))).fields
    assert fields["EBCA"] == "<bcu:0.025:0.025>" and fields["EBCA task"] == {"plain": "inpaint"}.get(way, way)
    Image.new("L", (SIZE, SIZE), 255).save(mask)
    refused = ebca("inpaint", photograph, mask, "--from", first["path"], *out)
    assert refused.exit_code == 2 and "was made with another mask" in refused.stderr


def test_bad_masks(inpaint: Ebca, photograph: Path, tmp_path: Path) -> None:
    speck = Image.new("L", (SIZE, SIZE))
    speck.putpixel((SIZE // 2 + 1, 3), 255)
    for name, image, words in (
        ("black", Image.new("L", (SIZE, SIZE)), "is black all over"),
        ("dark", Image.new("L", (SIZE, SIZE), 127), "is dark all over, 127 of 255 at most"),
        ("speck", speck, "the mask's white is too thin for the model, which works at 32 x 32"),
        ("other", Image.new("L", (SIZE + 1, SIZE), 255), "they should be of the same size"),
    ):
        image.save(tmp_path / f"{name}.png")
        result = inpaint(photograph, tmp_path / f"{name}.png", "a dog")
        assert result.exit_code == 2 and words in result.stderr and len(result.stderr.splitlines()) == 1
        repainted = inpaint(photograph, tmp_path / f"{name}.png", "a dog", "--repaint")
        assert repainted.exit_code == 2 and words in repainted.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--feather", 400), "--feather is 400: that seam leaves (nearly) nothing"),
        (("--jump-count", 3), "--jump-length and --jump-count belong to --repaint"),
        (("--repaint", "--jump-count", 0), "--jump-count is 0"),
        (("--repaint", "--sampler", "Euler"), "--repaint has a sampler of its own"),
        (("--repaint", "--strength", 0.5), "--repaint has a sampler of its own"),
        (("--feather", -1), "--feather is -1: it should not be negative"),
        (("--strength", 2), "--strength is 2"),
    ],
)
def test_bad_input_is_one_sentence(
    inpaint: Ebca, photograph: Path, mask: Path, arguments: tuple[object, ...], words: str
) -> None:
    result = inpaint(photograph, mask, "a dog", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ") and words in result.stderr and len(result.stderr.splitlines()) == 1


def test_repaint_refuses_a_model_made_for_inpainting_and_edit_too(
    inpaint: Ebca, ebca: Ebca, nine_channels: Path, photograph: Path, mask: Path
) -> None:
    result = inpaint(photograph, mask, "a dog", "--repaint", "--model", nine_channels)
    assert result.exit_code == 2 and "this one was: leave it out" in result.stderr
    result = ebca("edit", photograph, "-c", "a cat", "--reconstruct", "--model", nine_channels)
    assert result.exit_code == 2 and "is made for inpainting" in result.stderr
