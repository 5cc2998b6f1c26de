"""`--sampling webui`: the WebUI's way of drawing, and pictures that the WebUI made."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lib_ebca.hosts import webui_samplers
from lib_ebca.studio import infotext, recipe, samplers
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import MODELS
from lib_ebca.studio.named import exported_hash, find
from lib_ebca.studio.request import recorded_in
from tests.cli.conftest import SIZE, Ebca
from tests.cli.test_edit import line_of, photograph, pixels
from tests.modes import modes_hold

__all__ = ["photograph"]


@pytest.fixture
def draw(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> Ebca:
    common = ("--model", tiny_model, "--steps", 4, "--out", tmp_path / "out", "--sampling", "webui", "--json")
    return lambda command, *arguments: ebca(command, *common, *arguments)


@pytest.mark.parametrize(("sampler", "schedule"), [("euler A", None), ("DPM++ 2M Karras", None), ("heun", "simple")])
def test_the_picture_says_how_it_was_drawn_and_comes_out_again(
    draw: Ebca, ebca: Ebca, tmp_path: Path, tiny_model: Path, sampler: str, schedule: str | None
) -> None:
    options = () if schedule is None else ("--schedule", schedule)
    made = line_of(draw("txt2img", "a cat <bcu:0.5:0.1>", "--seed", 5, "--sampler", sampler, *options))
    with Image.open(made["path"]) as image:
        fields = infotext.read(str(infotext.from_picture(image))).fields
    expected = {"euler A": ("Euler a", "Automatic"), "heun": ("Heun", "Simple")}
    assert (fields["Sampler"], fields["Schedule type"]) == expected.get(sampler, ("DPM++ 2M", "Karras"))
    again = line_of(
        ebca("txt2img", "--from", made["path"], "--model", tiny_model, "--out", tmp_path / "again", "--json")
    )
    assert np.array_equal(pixels(made["path"]), pixels(again["path"]))


def test_photographs_too(draw: Ebca, photograph: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    white = Image.new("L", Image.open(photograph).size)
    white.paste(255, (0, 0, white.width // 2, white.height))
    white.save(mask)
    varied = [
        pixels(line_of(draw("img2img", photograph, "a dog", "--seed", 1, "--strength", strength))["path"])
        for strength in (0.3, 0.9)
    ]
    painted = line_of(draw("inpaint", photograph, mask, "a dog <bcu:0.5:0.1>", "--seed", 1))
    kept = pixels(photograph)[:, white.width // 2 :]
    assert not np.array_equal(varied[0], varied[1])
    assert np.array_equal(pixels(painted["path"])[:, white.width // 2 :], kept)


def test_a_gpus_noise_is_another_and_stands_in_the_picture(
    draw: Ebca, ebca: Ebca, tmp_path: Path, tiny_model: Path
) -> None:
    """The Brownian paths of DPM++ SDE grow from it too."""
    made = [
        line_of(draw("txt2img", "a cat", "--seed", 5, "--sampler", "DPM++ SDE", "--noise", noise))
        for noise in ("cpu", "nv", "cpu")
    ]
    drawn = [pixels(each["path"]) for each in made]
    assert np.array_equal(drawn[0], drawn[2]) and not np.array_equal(drawn[0], drawn[1])
    with Image.open(made[1]["path"]) as image:
        assert infotext.read(str(infotext.from_picture(image))).fields["RNG"] == "NV"
    again = ebca("txt2img", "--from", made[1]["path"], "--model", tiny_model, "--out", tmp_path / "again", "--json")
    assert np.array_equal(pixels(line_of(again)["path"]), drawn[1])


@pytest.mark.parametrize(
    ("written", "noise", "assumed"), [("", "nv", True), (", RNG: CPU", "cpu", False), (", RNG: NV", "nv", False)]
)
def test_a_webui_names_no_noise_but_a_gpus(written: str, noise: str, assumed: bool) -> None:
    text = f"a cat\nSteps: 5, Sampler: Euler a, CFG scale: 7, Seed: 1{written}, Version: v1.10.1"
    made, source = recipe.from_text(text)
    assert (made.settings.noise, source.noise_assumed) == (noise, assumed)


def test_hires_fix_stands_in_the_picture_and_comes_out_again(
    draw: Ebca, ebca: Ebca, tmp_path: Path, tiny_model: Path
) -> None:
    options = ("--hires", 1.5, "--hires-upscaler", "latent (bicubic)", "--hires-steps", 3, "--hires-strength", 0.6)
    made = line_of(draw("txt2img", "a cat <bcu:0.5:0.1>", "--seed", 5, "--sampler", "Euler a", *options))
    with Image.open(made["path"]) as image:
        assert image.size == (1.5 * SIZE, 1.5 * SIZE)
        fields = infotext.read(str(infotext.from_picture(image))).fields
    named = ("Hires upscale", "Hires upscaler", "Hires steps", "Denoising strength")
    assert [fields[name] for name in named] == ["1.5", "Latent (bicubic)", "3", "0.6"]
    again = ebca("txt2img", "--from", made["path"], "--model", tiny_model, "--out", tmp_path / "again", "--json")
    assert np.array_equal(pixels(line_of(again)["path"]), pixels(made["path"]))
    assert "not read here" not in again.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--noise", "amd"), "--noise is 'amd': it should be one of cpu, nv"),
        (("--sampling", "diffusers", "--noise", "nv"), "--noise 'nv' goes with --sampling webui: add it"),
        (("--sampling", "diffusers", "--hires", 2), "--hires 2.0 goes with --sampling webui: add it"),
        (("--hires", 1), "--hires is 1: it should be above 1 and at most 8"),
        (("--hires-steps", 4), "--hires-steps goes with --hires SCALE: add it"),
        (("--hires", 2, "--hires-strength", 0), "--hires-strength is 0: it should be above 0 and at most 1"),
        (("--hires", 2, "--hires-upscaler", "latnt"), "is 'latnt' (did you mean Latent?): it should be one of Latent,"),
        (("--hires", 8, "--width", 8192), "--hires is 8: of 8192 x"),
        (("--sampler", "Restart"), "sampler 'Restart' is not one of the WebUI's that are here: DPM++ 2M,"),
        (("--sampler", "Eulr a"), "that are here (did you mean Euler a?): DPM++ 2M,"),
        (("--schedule", "cosine"), "schedule 'cosine' is not known: choose one of Automatic, Uniform"),
        (("--hires", 2, "--hires-strength", 1e-9), "has 100000 at most: raise the strength"),
        (("--hires", 2, "--hires-strength", 1e-3, "--sampler", "DDIM"), "has 1000 at most: raise the strength"),
        (("--sampler", "UniPC", "--steps", 2), "UniPC cannot walk 2 timesteps: raise the steps or the strength"),
        (("--sampling", "forge"), "--sampling is 'forge': it should be one of diffusers, webui"),
        (("--sampling", "diffusers", "--schedule", "Karras"), "--schedule 'Karras' goes with --sampling webui"),
    ],
)
def test_what_cannot_be_is_said(draw: Ebca, arguments: tuple[object, ...], words: str) -> None:
    result = draw("txt2img", "a cat", *arguments)
    assert result.exit_code != 0 and words in " ".join(result.output.split())


def test_the_names_that_are_known_without_torch_are_those_that_are_walked() -> None:
    assert tuple(webui_samplers.SAMPLERS) == samplers.WEBUI_NAMES
    assert set(samplers.WEBUI_SCHEDULES) == set(webui_samplers.NAMES_OF_SCHEDULES)
    assert tuple(webui_samplers.NOISES) == samplers.NOISES


def test_a_velocity_is_not_read_as_noise(ebca: Ebca, tmp_path: Path) -> None:
    result = ebca("txt2img", "a cat", "--sampling", "webui", "--sampler", "LCM", "--out", tmp_path)
    assert result.exit_code != 0 and "sampler LCM reads noise" in result.output


def test_a_model_is_found_by_its_hash_and_its_name(tmp_path: Path) -> None:
    files = {name: tmp_path / "below" / f"{name}.safetensors" for name in ("a", "b")}
    (tmp_path / "below").mkdir()
    hashes = {}
    for name, file in files.items():
        file.write_bytes(name.encode())
        hashes[name] = hashlib.sha256(name.encode()).hexdigest()[:10]
    assert find("a", hashes["a"], [tmp_path]) == str(files["a"])
    assert find("renamed", hashes["b"], [tmp_path]) == str(files["b"])
    assert find("a", "0" * 10, [tmp_path]) == str(files["a"])
    assert find("shapes", exported_hash(MODELS / "shapes")[0], [tmp_path]) == "shapes"
    (tmp_path / "0.safetensors").touch(mode=0)
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "b.safetensors").touch()
    (tmp_path / "0").chmod(0o600)
    with modes_hold():
        assert find("renamed", hashes["b"], [tmp_path]) == str(files["b"])
        with pytest.raises(UserError, match=r"cannot read '.*0/x'"):
            find("a", hashes["a"], [tmp_path / "0" / "x"])
    with pytest.raises(UserError, match=r"with the model 'c': say where that is with --model, or name the folder"):
        find("c", "0" * 10, [tmp_path])
    with pytest.raises(UserError, match="is no folder"):
        find("c", "", [tmp_path / "missing"])


def test_a_picture_of_the_webui_says_what_it_was_drawn_with(tmp_path: Path) -> None:
    written = PngInfo()
    written.add_text(
        "parameters",
        "a red circle <bcu>\nNegative prompt: grey\nSteps: 5, Sampler: Heun, Schedule type: Karras, CFG scale: 3, "
        f"Seed: 4, Size: {2 * SIZE}x{2 * SIZE}, Model hash: {exported_hash(MODELS / 'shapes')[0]}, Model: shapes, "
        "Version: v1.10.1",
    )
    Image.new("RGB", (SIZE, SIZE)).save(tmp_path / "theirs.png", pnginfo=written)
    recorded, source = recorded_in(tmp_path / "theirs.png", None, None, trusted=False)
    found = recorded.settings
    assert (found.model, found.sampling, found.sampler, found.schedule) == ("shapes", "webui", "Heun", "Karras")
    assert (found.width, found.height, found.negative, recorded.seed, source.unread) == (SIZE, SIZE, "grey", 4, ())
    assert recorded.plan.active
