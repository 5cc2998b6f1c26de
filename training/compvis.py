"""The same weights as one CompVis-format file with its yaml, the form the WebUI and the original code load."""

from __future__ import annotations

import json
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModel

from lib_ebca.studio.named import EXPORTED

from .networks import BETAS

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
TEXT_PREFIX = "text_model."

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _rename(name: str, table: dict[str, str]) -> str:
    """Replace the leading module path of `name` as the table says."""
    for old, new in table.items():
        if name == old or name.startswith(old + "."):
            return new + name[len(old) :]
    return name


def unet_key(key: str, layers: int) -> str:
    """The CompVis name of a diffusers UNet weight, for a UNet with attention at every level."""
    match = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", key)
    if match:
        side, level, kind, number, rest = match.groups()
        if side == "down":
            block = f"input_blocks.{1 + int(level) * (layers + 1) + int(number)}"
        else:
            block = f"output_blocks.{int(level) * (layers + 1) + int(number)}"
        return f"{block}.0.{_rename(rest, RESNET)}" if kind == "resnets" else f"{block}.1.{rest}"
    match = re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.+)", key)
    if match:
        return f"input_blocks.{(int(match[1]) + 1) * (layers + 1)}.0.op.{match[2]}"
    match = re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.conv\.(.+)", key)
    if match:
        return f"output_blocks.{(int(match[1]) + 1) * (layers + 1) - 1}.2.conv.{match[2]}"
    match = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)", key)
    if match:
        kind, number, rest = match.groups()
        return (
            f"middle_block.{2 * int(number)}.{_rename(rest, RESNET)}" if kind == "resnets" else f"middle_block.1.{rest}"
        )
    return _rename(key, UNET_ENDS)


def vae_key(key: str, levels: int) -> str:
    """The CompVis name of a diffusers VAE weight."""
    side, _, rest = key.partition(".")
    if side not in ("encoder", "decoder"):
        return key
    match = re.match(r"(down|up)_blocks\.(\d+)\.(resnets\.(\d+)|downsamplers\.0|upsamplers\.0)\.(.+)", rest)
    if match:
        way, level, _, number, tail = match.groups()
        # CompVis counts the decoder's levels from the picture inwards.
        place = int(level) if way == "down" else levels - 1 - int(level)
        tail = _rename(tail, {"conv_shortcut": "nin_shortcut"})
        part = f"block.{number}" if number is not None else f"{way}sample"
        return f"{side}.{way}.{place}.{part}.{tail}"
    match = re.match(r"mid_block\.resnets\.(\d+)\.(.+)", rest)
    if match:
        return f"{side}.mid.block_{int(match[1]) + 1}.{_rename(match[2], {'conv_shortcut': 'nin_shortcut'})}"
    match = re.match(r"mid_block\.attentions\.0\.(.+)", rest)
    if match:
        return f"{side}.mid.attn_1.{_rename(match[1], VAE_ATTENTION)}"
    return f"{side}.{_rename(rest, {'conv_norm_out': 'norm_out'})}"


def text_key(key: str) -> str:
    """The name of a text encoder weight as CompVis and the hub write it; some versions leave the prefix out."""
    return key if key.startswith(TEXT_PREFIX) else TEXT_PREFIX + key


def to_compvis(unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel) -> dict[str, Tensor]:
    """All weights under their CompVis names, on the CPU."""
    layers, levels = int(unet.config.layers_per_block), len(vae.config.block_out_channels)
    result: dict[str, Tensor] = {}
    for key, value in unet.state_dict().items():
        result[UNET + unet_key(key, layers)] = value
    for key, value in vae.state_dict().items():
        # CompVis' attention in the VAE is made of 1 x 1 convolutions.
        linear = ".attentions." in key and key.endswith("weight") and value.ndim == 2
        result[VAE + vae_key(key, levels)] = value[:, :, None, None] if linear else value
    for key, value in text_encoder.state_dict().items():
        result[TEXT + text_key(key)] = value
    positions = torch.arange(text_encoder.config.max_position_embeddings)[None]
    result[TEXT + TEXT_PREFIX + "embeddings.position_ids"] = positions
    return {key: value.detach().cpu().contiguous() for key, value in result.items()}


def compvis_config(
    unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel, prediction: str
) -> dict[str, Any]:
    """The yaml in the form of v1-inference.yaml, with our sizes; `prediction` is diffusers' name of what is predicted.

    CompVis takes the text encoder's sizes and vocabulary from the folder or model named by `version`; "clip" is the
    folder that `export_compvis` writes beside the yaml, and a loader that runs elsewhere makes that path absolute."""
    widths, inner = list(unet.config.block_out_channels), list(vae.config.block_out_channels)
    unet_params = {
        "image_size": unet.config.sample_size,
        "in_channels": unet.config.in_channels,
        "out_channels": unet.config.out_channels,
        "model_channels": widths[0],
        "attention_resolutions": [2**i for i in range(len(widths))],
        "num_res_blocks": unet.config.layers_per_block,
        "channel_mult": [w // widths[0] for w in widths],
        "num_head_channels": widths[0] // unet.config.attention_head_dim[0],
        "use_spatial_transformer": True,
        "transformer_depth": 1,
        "context_dim": unet.config.cross_attention_dim,
        "use_checkpoint": False,
        "legacy": False,
    }
    ddconfig = {
        "double_z": True,
        "z_channels": vae.config.latent_channels,
        "resolution": vae.config.sample_size,
        "in_channels": 3,
        "out_ch": 3,
        "ch": inner[0],
        "ch_mult": [w // inner[0] for w in inner],
        "num_res_blocks": vae.config.layers_per_block,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    params = {
        "parameterization": {"epsilon": "eps", "v_prediction": "v"}[prediction],
        "linear_start": BETAS["beta_start"],
        "linear_end": BETAS["beta_end"],
        "num_timesteps_cond": 1,
        "log_every_t": 200,
        "timesteps": BETAS["num_train_timesteps"],
        "first_stage_key": "jpg",
        "cond_stage_key": "txt",
        "image_size": unet.config.sample_size,
        "channels": unet.config.in_channels,
        "cond_stage_trainable": False,
        "conditioning_key": "crossattn",
        "monitor": "val/loss_simple_ema",
        "scale_factor": float(vae.config.scaling_factor),
        "use_ema": False,
        "unet_config": {"target": "ldm.modules.diffusionmodules.openaimodel.UNetModel", "params": unet_params},
        "first_stage_config": {
            "target": "ldm.models.autoencoder.AutoencoderKL",
            "params": {
                "embed_dim": vae.config.latent_channels,
                "monitor": "val/rec_loss",
                "ddconfig": ddconfig,
                "lossconfig": {"target": "torch.nn.Identity"},
            },
        },
        "cond_stage_config": {
            "target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder",
            "params": {"version": "clip", "max_length": text_encoder.config.max_position_embeddings},
        },
    }
    model = {"base_learning_rate": 1.0e-04, "target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": params}
    return {"model": model}


def export_compvis(model: Path, out: Path, name: str = "shapes") -> tuple[Path, Path]:
    """Write OUT/NAME.safetensors (float16) and OUT/NAME.yaml from a diffusers folder; every weight is the same.

    The file's hash is left in the folder too, so that what the WebUI says of a picture can be told to be this model.
    OUT/clip holds the text encoder's configuration and the tokenizer, for the yaml; OUT/NAME the configuration in
    diffusers layout, by which `ebca --model OUT/NAME.safetensors` knows the sizes.
    """
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float16)
    vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float16)
    text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder").to(torch.float16)
    out.mkdir(parents=True, exist_ok=True)
    weights, config = out / f"{name}.safetensors", out / f"{name}.yaml"
    part = weights.with_suffix(".part")
    save_file(to_compvis(unet, vae, text_encoder), part, metadata={"format": "pt"})
    part.chmod(0o644)
    part.replace(weights)
    (model / EXPORTED).write_text(
        json.dumps({"sha256": sha256(weights.read_bytes()).hexdigest()}, indent=1) + "\n", encoding="utf-8"
    )
    prediction = json.loads((model / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))[
        "prediction_type"
    ]
    config.write_text(
        yaml.safe_dump(compvis_config(unet, vae, text_encoder, prediction), sort_keys=False), encoding="utf-8"
    )
    shutil.copytree(model / "tokenizer", out / "clip", dirs_exist_ok=True)
    shutil.copy(model / "text_encoder" / "config.json", out / "clip" / "config.json")
    others = shutil.ignore_patterns(
        "*.safetensors", "*.png", "*.md", "card.json", "evaluation.json", "judge.json", EXPORTED
    )
    shutil.copytree(model, out / name, ignore=others, dirs_exist_ok=True)
    return weights, config


def main(
    model: Annotated[Path, typer.Argument(help="Folder in diffusers layout.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Argument(help="Folder for the file, its yaml and its configuration.")],
) -> None:
    """Write a model of `training`'s making as one file, which the WebUI and `ebca --model FILE` load."""
    for path in export_compvis(model, out):
        typer.echo(str(path))


if __name__ == "__main__":
    typer.run(main)
