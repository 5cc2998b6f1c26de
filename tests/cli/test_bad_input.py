"""Bad input: one clear sentence on stderr, exit code 2, and nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import Result

from tests.cli.conftest import Ebca

PROMPT = "a cat on a sofa"


def refused(result: Result, *says: str) -> None:
    """The run ended with exit code 2, one sentence on stderr that says all of `says`, and silence on stdout."""
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    for each in says:
        assert each in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((PROMPT, "--seed", "1.5"), ("--seed is '1.5': it should be a whole number",)),
        ((PROMPT, "--cfg=abc"), ("--cfg is 'abc': it should be a number",)),
        ((f"{PROMPT} <edit:dog:0.5:when=1>",), ("<edit:dog:0.5:when=1>", "when")),
        ((f"{PROMPT} <edit:dog",), ("<edit:dog", "closing")),
        ((PROMPT, "--edit", "dog"), ("--edit 'dog'", "STRENGTH")),
        ((PROMPT, "--edit", "cat:-1"), ("cat", "at least 0.1")),
        ((PROMPT, "--edit", "cat:-0.8", "--edit", "sofa:-0.8:from=0.5"), ("cat", "sofa", "at least 0.1")),
        ((f"{PROMPT} <edit:cat:-2>",), ("<edit:cat:-2>", "at least 0.1")),
        ((PROMPT, "--boost", "dog:2"), ("dog", "not in the prompt", "sofa")),
        ((f"{PROMPT} <boost:cat#2:2>",), ("cat#2", "once")),
        ((PROMPT, "--boost", "cat:2", "--bcu", "0:0.02"), ("update.attn", "boost")),
        ((PROMPT, "--bcu", "nan:0.02"), ("--bcu", "finite")),
        ((PROMPT, "--bcu", "0.01:inf"), ("--bcu", "finite")),
        ((PROMPT, "--edit", "dog:nan"), ("--edit", "finite")),
        ((PROMPT, "--cfg", "nan"), ("--cfg", "finite")),
        ((PROMPT, "--cfg", "inf"), ("--cfg", "finite")),
        ((PROMPT, "--cfg", "1e30"), ("--cfg is 1e+30", "at most 1000")),
        ((PROMPT, "--bcu", "0.01"), ("--bcu '0.01'", "NORM")),
        ((PROMPT, "--bcu", "0.01,0.02"), ("--bcu '0.01,0.02'", "neither a number nor key=value")),
        ((PROMPT, "--bcu", "on"), ("--bcu 'on'", "neither a number nor key=value")),
        ((PROMPT, "--bcu", "form=0.5"), ("--bcu 'form=0.5'", "form")),
        ((PROMPT, "--prompts", "/dev/zero"), ("--prompts /dev/zero", "larger than 10 MB")),
        (("a " * 20_000,), ("the prompt has 40000 characters", "20000")),
        ((PROMPT, "--edit", "a " * 20_000 + ":1"), ("--edit has 40002 characters",)),
        ((PROMPT, "--negative", "a " * 20_000), ("--negative has 40000 characters",)),
        ((PROMPT, "--count", "9" * 20), ("--count is 99999", "at most 999999")),
        ((PROMPT, "--clip-skip", "9" * 20), ("--clip-skip is 99999", "at most 999999")),
        ((PROMPT, "--edit", "x:1e308", "--edit", "y:1e308"), ("strength is 1e+308", "at most 1e+300")),
        ((PROMPT, "--from", "/dev/zero"), ("/dev/zero", "a pipe or a device")),
        ((PROMPT, "--prompts", "nowhere.txt"), ("--prompts nowhere.txt", "No such file")),
        ((PROMPT, "--prompts", "."), ("--prompts .",)),
        ((PROMPT, "--bcu", "1e30:1e30"), ("seed", "not finite", "--cfg")),
        ((PROMPT, "--steps", "2000"), ("--steps is 2000", "at most 1000")),
        ((PROMPT, "--steps", "9" * 20), ("--steps is 9", "at most 1000")),
        ((PROMPT, "--width", "1000000"), ("--width is 1000000", "at most 8192")),
        ((PROMPT, "--batch-size", "2000"), ("--batch-size is 2000", "at most 1024")),
        ((PROMPT, "--lora", "~nosuchuser/x"), ("--lora", "~nosuchuser/x")),
        ((PROMPT, "--cfg", "0.5"), ("--cfg is 0.5", "at least 1")),
        ((PROMPT, "--steps", "0"), ("--steps is 0", "at least 1")),
        ((PROMPT, "--width", "30"), ("--width is 30", "multiple of 8", "24 or 32")),
        ((PROMPT, "--height", "-8"), ("--height is -8", "multiple of 8")),
        ((PROMPT, "--count", "0"), ("--count is 0", "at least 1")),
        ((PROMPT, "--batch-size", "0"), ("--batch-size is 0", "at least 1")),
        ((PROMPT, "--seed", "-2"), ("--seed is -2", "from 0 to")),
        ((PROMPT, "--seed", str(2**64)), ("--seed is", "from 0 to")),
        ((PROMPT, "--sampler", "Nosuch"), ("'Nosuch'", "Euler a", "DPM++ 2M Karras", "PNDM")),
        ((PROMPT, "--dtype", "int8"), ("'int8'", "float16")),
        ((PROMPT, "--device", "toaster"), ("'toaster'",)),
        ((PROMPT, "--clip-skip", "0"), ("--clip-skip is 0", "at least 1")),
        ((PROMPT, "--clip-skip", "4"), ("--clip-skip is 4", "3 layers")),
        ((PROMPT, "--negative", "dog <bcu>"), ("--negative", "prompt")),
        ((PROMPT, "--negative", "dog <edit:x>"), ("<edit:x>",)),
        ((PROMPT, "--compare"), ("--compare", "--bcu")),
        ((PROMPT, "--lora", "nowhere.safetensors:0.5"), ("'nowhere.safetensors'", "no such file")),
        ((PROMPT, "--lora", "nowhere.safetensors:nan"), ("--lora", "finite")),
        ((), ("PROMPT", "--from")),
        (("bad \udcff bytes",), ("UTF-8",)),
        (("--from", "nowhere.png"), ("nowhere.png", "no file")),
        (("--from", "."), ("folder",)),
    ],
)
def test_one_sentence_and_nothing_written(
    draw: Ebca, tmp_path: Path, arguments: tuple[str, ...], says: tuple[str, ...]
) -> None:
    refused(draw(*arguments), *says)
    out = tmp_path / "out"
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_an_unreadable_picture(draw: Ebca, ebca: Ebca, tmp_path: Path, content: bytes) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(content)
    refused(draw("--from", broken), "broken.png", "picture")
    refused(ebca("info", broken), "broken.png", "picture")


def test_a_picture_cut_short(draw: Ebca, ebca: Ebca, tmp_path: Path) -> None:
    noise = torch.randint(256, (64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = tmp_path / "whole.png"
    Image.fromarray(noise.numpy()).save(whole)
    refused(ebca("info", whole), "whole.png", "no generation parameters")
    whole.write_bytes(whole.read_bytes()[:5000])
    refused(ebca("info", whole), "whole.png")


def test_a_picture_of_another_program_needs_a_model(draw: Ebca, ebca: Ebca, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("parameters", "a cat\nSteps: 2, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 32x32, Model: fancy")
    path = tmp_path / "theirs.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=text)
    refused(ebca("txt2img", "--from", path, "--out", tmp_path / "out"), "'fancy'", "--model")
    assert draw("--from", path).exit_code == 0


def test_models_that_are_not_there(ebca: Ebca, tmp_path: Path) -> None:
    def tried(model: str | Path, *more: str) -> Result:
        return ebca("txt2img", PROMPT, "--out", tmp_path / "out", "--model", model, *more)

    refused(tried("nosuch"), "'nosuch'", "folder", "hub id")
    refused(tried("some/where"), "'some/where'", "cannot be reached")
    refused(ebca("tokens", PROMPT, "--model", "some/where"), "'some/where'", "cannot be reached")
    refused(tried(tmp_path), "model_index.json")

    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "model_index.json").write_text("{")
    refused(tried(folder), "model_index.json")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    refused(tried(folder), "FluxPipeline", "Stable Diffusion 1, 2 or XL")
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]})
    )
    refused(tried(folder), str(folder))
    (folder / "unet").mkdir()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"")
    refused(tried(folder), "pickle", "--allow-pickle")

    (tmp_path / "model.ckpt").write_bytes(b"")
    refused(tried(tmp_path / "model.ckpt"), "pickle", "--allow-pickle")
    allowed = tried(tmp_path / "model.ckpt", "--allow-pickle")
    assert allowed.exit_code == 2
    assert allowed.stderr.startswith("Warning: ")
    assert len(allowed.stderr.splitlines()) == 2
    (tmp_path / "model.txt").write_bytes(b"")
    refused(tried(tmp_path / "model.txt"), ".safetensors")


def test_no_network(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli", "txt2img", PROMPT, "--model", "some/where", "--out", str(tmp_path / "out")]
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **nobody})
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: model 'some/where' is neither")
    assert done.stderr.count("\n") == 1


def test_single_files_are_told_apart(ebca: Ebca, tmp_path: Path) -> None:
    def tried(*keys: str) -> Result:
        path = tmp_path / "single.safetensors"
        save_file({key: torch.zeros(2, 2) for key in keys}, path)
        return ebca("txt2img", PROMPT, "--out", tmp_path / "out", "--model", path)

    refused(tried("something.else"), "not a checkpoint")
    refused(tried("unet.down.lora_A.weight"), "LoRA", "--lora")
    refused(tried("conditioner.embedders.1.model.ln_final.weight"), "hub", "folder in diffusers layout")
    refused(tried("cond_stage_model.model.ln_final.weight"), "hub", "folder in diffusers layout")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    refused(ebca("txt2img", PROMPT, "--model", tmp_path / "cut.safetensors", "--out", tmp_path), "cut.safetensors")


def test_an_inpainting_model_is_refused(ebca: Ebca, tiny_model: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel

    pipe = StableDiffusionPipeline.from_pretrained(tiny_model, safety_checker=None)
    pipe.unet = UNet2DConditionModel.from_config({**pipe.unet.config, "in_channels": 9})
    pipe.save_pretrained(tmp_path / "inpainting")
    refused(ebca("txt2img", PROMPT, "--model", tmp_path / "inpainting", "--out", tmp_path / "out"), "inpainting")


def test_a_lora_that_does_not_fit(draw: Ebca, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"text.of.something": torch.zeros(2, 2)}, other)
    refused(draw(PROMPT, "--lora", other), "other.safetensors")
    for name in ("lora.pt", "lora.PT", "lora.BIN", "lora.pkl", "lora"):
        pickled = tmp_path / name
        pickled.write_bytes(b"\x80\x04N.")
        refused(draw(PROMPT, "--lora", pickled), "pickle", "--allow-pickle")


def test_a_lora_of_another_size_is_one_sentence(tiny_model: Path, tiny_lora: Path, tmp_path: Path) -> None:
    other = tmp_path / "wide.safetensors"
    save_file({name: torch.zeros(7, 7) for name in load_file(tiny_lora)}, other)
    command = [sys.executable, "-m", "cli", "txt2img", PROMPT, "--model", str(tiny_model), "--lora", str(other)]
    # The library's log goes past what a test hears.
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"Error: --lora '{other}' does not fit the model")
    assert done.stderr.count("\n") == 1
    assert "size mismatch" in done.stderr


def test_layers_of_a_lora_that_the_model_lacks_are_told(draw: Ebca, tiny_lora: Path, tmp_path: Path) -> None:
    wider = tmp_path / "wider.safetensors"
    layer = "unet.down_blocks.7.attentions.0.transformer_blocks.0.attn2.to_k"
    weights = {f"{layer}.lora.down.weight": torch.zeros(2, 4), f"{layer}.lora.up.weight": torch.zeros(4, 2)}
    save_file({**load_file(tiny_lora), **weights}, wider)
    said = draw(PROMPT, "--lora", wider)
    assert said.exit_code == 0, said.output
    assert f"The LoRA {wider} is in part for another model, 1 of its layers do nothing: {layer}." in said.stderr
    assert "another model" not in draw(PROMPT, "--lora", tiny_lora).stderr


def test_a_folder_that_cannot_be(draw: Ebca, ebca: Ebca, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused(ebca("txt2img", PROMPT, "--model", tiny_model, "--out", tmp_path / "file" / "out"), "file")


def test_a_file_of_prompts(draw: Ebca, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeffa cat\n\n  # not drawn\n  a dog <bcu>  \n#\n", encoding="utf-8")
    said = draw("--prompts", file, "--json", "--seed", 1)
    assert [json.loads(line)["prompt"] for line in said.stdout.splitlines()] == ["a cat", "a dog <bcu>"]
    refused(draw(f"@{file}"), f"--prompts {file}")
    assert draw("@nobody and a cat").exit_code == 0
    file.write_text("# nothing\n\n")
    refused(draw("--prompts", file), "holds no prompt")
    file.write_bytes(b"\xff\xfe")
    refused(draw("--prompts", file), "UTF-8")
