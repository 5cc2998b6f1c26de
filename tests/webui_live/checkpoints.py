"""Checkpoints for a WebUI to test with: ``python -m tests.webui_live.checkpoints FOLDER``.

FOLDER is the WebUI's ``models/Stable-diffusion``. Those of SEEDS have SD 1's layers and heads, narrow, with random
weights, an untrained text encoder whose contexts have a mean (the WebUI's emphasis divides by it: of one that is nought
comes a picture that is not finite) and a folder ``tiny-clip``. TWIN is the embedded model with a VAE of random weights
that shrinks by 8, as the WebUI assumes. Beside it, and beside the text-to-image ones of SEEDS, stands the configuration
in diffusers layout, so that both programs read the same file. All encode a picture to the encoder's mean.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn

from lib_ebca.studio.locate import MODELS
from tests.tiny_text import text_encoder, tokenizer
from training.compvis import compvis_config, export_compvis, to_compvis

SEEDS = {"tiny-sd15": 1, "tiny-sd15-b": 2, "tiny-sd15-inpainting": 3}
TWIN, CLIP = "twin", "tiny-clip"
WIDTH = 64
HEADS = 8


def networks(name: str) -> tuple[UNet2DConditionModel, AutoencoderKL, Any]:
    """The UNet, the VAE, which shrinks by 8, and the text encoder of one of SEEDS."""
    seed = SEEDS[name]
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=16,
        in_channels=9 if name.endswith("inpainting") else 4,
        block_out_channels=(32, 64, 64, 64),
        cross_attention_dim=WIDTH,
        attention_head_dim=(HEADS,) * 4,
    )
    lively(unet)
    return unet, small_vae(), text_encoder(tokenizer(), seed, hidden=WIDTH)


def small_vae() -> AutoencoderKL:
    """A VAE that shrinks by 8, of random weights."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32,) * 4,
        latent_channels=4,
        sample_size=128,
    )
    lively(vae)
    _certain(vae)
    return vae


@torch.no_grad()
def lively(network: nn.Module) -> None:
    """Weights that keep their inputs' size, and queries that tell words apart."""
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            weight.normal_(0, weight[0].numel() ** -0.5)
            if "attn2.to_q" in name or "attn2.to_k" in name:
                weight.mul_(2)


@torch.no_grad()
def _certain(vae: AutoencoderKL) -> None:
    """An encoder without variance: the WebUI draws from it with whatever noise comes next, and gets the mean."""
    channels = vae.config.latent_channels
    vae.quant_conv.weight[channels:].zero_()
    vae.quant_conv.bias[channels:].fill_(-30.0)


def write(folder: Path) -> list[Path]:
    """All of them, as files that the WebUI lists."""
    vocabulary(folder / CLIP)
    written = [_twin(folder)]
    for name in SEEDS:
        unet, vae, text = networks(name)
        text.config.save_pretrained(folder / CLIP)
        config = compvis_config(unet, vae, text, "epsilon")
        params = config["model"]["params"]
        sizes = params["unet_config"]["params"]
        # The lowest of SD 1's four levels has no attention, and its heads are as many at each.
        sizes |= {"attention_resolutions": [1, 2, 4], "num_heads": HEADS}
        del sizes["num_head_channels"]
        params["cond_stage_config"]["params"]["version"] = str((folder / CLIP).resolve())
        if unet.config.in_channels == 9:
            config["model"]["target"] = "ldm.models.diffusion.ddpm.LatentInpaintDiffusion"
            params |= {"conditioning_key": "hybrid", "finetune_keys": None}
        (folder / name).with_suffix(".yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        written.append((folder / name).with_suffix(".safetensors"))
        named = to_compvis(unet, vae, text)
        # Where there is no attention the layer that enlarges comes right after the residual block.
        named = {key.replace("output_blocks.2.2.", "output_blocks.2.1."): value for key, value in named.items()}
        save_file(named, written[-1], metadata={"format": "pt"})
        if unet.config.in_channels == 4:
            _described(folder / name, unet, vae, text)
    return written


def _described(folder: Path, unet: UNet2DConditionModel, vae: AutoencoderKL, text: Any) -> None:
    """The configuration of a model in diffusers layout, without its weights."""
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    pipe = StableDiffusionPipeline(vae, text, tokenizer(), unet, scheduler, None, None, requires_safety_checker=False)
    pipe.save_pretrained(folder)
    for weights in (*folder.glob("*/*.safetensors"), *folder.glob("*/*.bin")):
        weights.unlink()


def vocabulary(folder: Path) -> None:
    """In the form that the WebUI's transformers reads, which newer ones do not write."""
    tokens = tokenizer()
    tokens.save_pretrained(folder)
    whole = folder / "tokenizer.json"
    if whole.exists():
        model = json.loads(whole.read_text(encoding="utf-8"))["model"]
        lines = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")
        whole.unlink()


def _twin(folder: Path) -> Path:
    with tempfile.TemporaryDirectory() as work:
        model, out = Path(work) / "model", Path(work) / "out"
        shutil.copytree(MODELS / "shapes", model)
        config = AutoencoderKL.load_config(model / "vae")
        torch.manual_seed(5)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(32,) * 4,
            latent_channels=config["latent_channels"],
            scaling_factor=config["scaling_factor"],
            sample_size=128,
        )
        _certain(vae)
        vae.save_pretrained(model / "vae")
        weights, described = export_compvis(model, out)
        shutil.copytree(out / "shapes", folder / TWIN, dirs_exist_ok=True)
        shutil.copytree(out / "clip", folder / TWIN / "clip", dirs_exist_ok=True)
        whole = yaml.safe_load(described.read_text())
        whole["model"]["params"]["cond_stage_config"]["params"]["version"] = str((folder / TWIN / "clip").resolve())
        (folder / TWIN).with_suffix(".yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
        return Path(shutil.copy(weights, (folder / TWIN).with_suffix(".safetensors")))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.webui_live.checkpoints", description=__doc__)
    parser.add_argument("folder", type=Path, help="the WebUI's models/Stable-diffusion")
    for path in write(parser.parse_args().folder):
        print(path)


if __name__ == "__main__":
    main()
