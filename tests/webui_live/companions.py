"""What goes with small checkpoints: ``python -m tests.webui_live.companions FORGE`` writes it into a copy of Forge.

A checkpoint of SDXL's layers ``tiny-sdxl``, a ControlNet and an IP-Adapter for those of SD 1's, with its picture
encoder, and a LoRA for the cross-attention; all narrow, with random weights. The copy is told of the shapes by
:mod:`tests.webui_live.forge_tables`.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from tests.tiny_text import text_encoder, tokenizer
from tests.webui_live.checkpoints import WIDTH, lively, networks, small_vae
from training.compvis import UNET, VAE, unet_key, vae_key

SDXL = "tiny-sdxl"
CONTROLNET, ADAPTER, VISION, LORA = "tiny-controlnet", "tiny-ip-adapter", "CLIP-ViT-H-14", "tiny-lora"
SIZES = 6
"""Heights and widths that SDXL is told of, each as 256 numbers."""

VISION_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "projection_dim": 32,
}
"""Of the picture encoder; its layers, patches and picture's size are those of CLIP's ViT-H."""

_EMBEDDING = {"add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2"}
_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def sdxl() -> dict[str, Tensor]:
    """A checkpoint of SDXL's layers, heads of 64 and two text encoders, under sgm's names."""
    torch.manual_seed(4)
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(1, 1, 2),
        cross_attention_dim=2 * WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=WIDTH + SIZES * 256,
    )
    lively(unet)
    vae = small_vae()
    tokens = tokenizer()
    first = text_encoder(tokens, 5, hidden=WIDTH)
    second = text_encoder(tokens, 6, projection=True, hidden=WIDTH, projection_dim=WIDTH, hidden_act="gelu")
    named: dict[str, Tensor] = {}
    for key, value in unet.state_dict().items():
        head = next((each for each in _EMBEDDING if key.startswith(each)), None)
        named[UNET + (_EMBEDDING[head] + key[len(head) :] if head else unet_key(key, 2))] = value
    for key, value in vae.state_dict().items():
        linear = ".attentions." in key and key.endswith("weight") and value.ndim == 2
        named[VAE + vae_key(key, 4)] = value[:, :, None, None] if linear else value
    for key, value in first.state_dict().items():
        named[f"conditioner.embedders.0.transformer.text_model.{key.removeprefix('text_model.')}"] = value
    for key, value in _open_clip(second.state_dict()).items():
        named[f"conditioner.embedders.1.model.{key}"] = value
    return {key: value.detach().contiguous() for key, value in named.items()}


def _open_clip(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """A text encoder's weights under OpenCLIP's names, its three projections stacked."""
    named: dict[str, Tensor] = {}
    stacked: dict[str, dict[str, Tensor]] = {}
    for key, value in found.items():
        key = key.removeprefix("text_model.")
        layer = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", key)
        if key == "text_projection.weight":
            named["text_projection"] = value.T
        elif layer is None:
            named[_ENDS.get(key, key)] = value
        elif (part := layer[2].removeprefix("self_attn.")) in ("q_proj", "k_proj", "v_proj"):
            stacked.setdefault(f"transformer.resblocks.{layer[1]}.attn.in_proj_{layer[3]}", {})[part] = value
        else:
            named[f"transformer.resblocks.{layer[1]}.{_BLOCK[layer[2]]}.{layer[3]}"] = value
    for key, parts in stacked.items():
        named[key] = torch.cat([parts[each] for each in ("q_proj", "k_proj", "v_proj")])
    return named


def controlnet() -> dict[str, Tensor]:
    """A ControlNet for ``tiny-sd15``, under CompVis' names; its last layers are small, not nought."""
    unet, _, _ = networks("tiny-sd15")
    torch.manual_seed(7)
    network = ControlNetModel.from_unet(unet)
    lively(network)
    with torch.no_grad():
        for last in (*network.controlnet_down_blocks, network.controlnet_mid_block):
            # At its full strength the random network's sum is not finite.
            last.weight.mul_(0.2)
    return {_control_key(key): value.detach().contiguous() for key, value in network.state_dict().items()}


def _control_key(key: str) -> str:
    head, _, rest = key.partition(".")
    number, _, tail = rest.partition(".")
    if head == "controlnet_down_blocks":
        return f"zero_convs.{number}.0.{tail}"
    if head == "controlnet_mid_block":
        return f"middle_block_out.0.{rest}"
    if head != "controlnet_cond_embedding":
        return unet_key(key, 2)
    if number == "blocks":
        number, _, tail = tail.partition(".")
        return f"input_hint_block.{2 * int(number) + 2}.{tail}"
    return f"input_hint_block.{0 if number == 'conv_in' else 14}.{tail}"


def vision() -> dict[str, Tensor]:
    """A picture encoder with the layers of CLIP's ViT-H."""
    torch.manual_seed(8)
    network = CLIPVisionModelWithProjection(
        CLIPVisionConfig(num_hidden_layers=32, patch_size=14, image_size=224, hidden_act="gelu", **VISION_SIZES)
    )
    lively(network)
    return {
        (key if key.startswith(("vision_model.", "visual_projection.")) else f"vision_model.{key}"): value.detach()
        for key, value in network.state_dict().items()
    }


def adapter() -> dict[str, Tensor]:
    """An IP-Adapter of four tokens for ``tiny-sd15``, the layers in the order in which the adapters number them."""
    unet, _, _ = networks("tiny-sd15")
    torch.manual_seed(9)
    projection = nn.Linear(VISION_SIZES["projection_dim"], 4 * WIDTH)
    norm = nn.LayerNorm(WIDTH)
    named = {f"image_proj.proj.{key}": value for key, value in projection.state_dict().items()}
    named |= {f"image_proj.norm.{key}": value for key, value in norm.state_dict().items()}
    sides = ("down_blocks", "up_blocks", "mid_block")
    layers = [
        (next(i for i, side in enumerate(sides) if name.startswith(side)), name, module)
        for name, module in unet.named_modules()
        if name.endswith("attn2")
    ]
    for number, (_, _, module) in enumerate(sorted(layers, key=lambda each: each[0])):
        for part in ("k", "v"):
            like: Any = getattr(module, f"to_{part}")
            named[f"ip_adapter.{2 * number + 1}.to_{part}_ip.weight"] = torch.randn_like(like.weight) * WIDTH**-0.5
    return {key: value.detach().contiguous() for key, value in named.items()}


def lora(rank: int = 4) -> dict[str, Tensor]:
    """A LoRA for the cross-attention of ``tiny-sd15``, under the names that kohya's scripts give."""
    unet, _, _ = networks("tiny-sd15")
    torch.manual_seed(10)
    named: dict[str, Tensor] = {}
    for name, module in unet.named_modules():
        if isinstance(module, nn.Linear) and ".attn2." in name:
            head = f"lora_unet_{name.replace('.', '_')}"
            named[f"{head}.lora_down.weight"] = torch.randn(rank, module.in_features) * module.in_features**-0.5
            named[f"{head}.lora_up.weight"] = torch.randn(module.out_features, rank)
            named[f"{head}.alpha"] = torch.tensor(float(rank))
    return named


def write(models: Path) -> list[Path]:
    """All of it into a copy's folder ``models``, each where the copy looks for its kind."""
    written = []
    for place, made in {
        f"Stable-diffusion/{SDXL}": sdxl,
        f"ControlNet/{CONTROLNET}": controlnet,
        f"ControlNet/{ADAPTER}": adapter,
        f"ControlNetPreprocessor/{VISION}": vision,
        f"Lora/{LORA}": lora,
    }.items():
        path = models / f"{place}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(made(), path, metadata={"format": "pt"})
        load_file(path)
        written.append(path)
    return written


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.webui_live.companions", description=__doc__)
    parser.add_argument("folder", type=Path, help="a copy of Forge")
    for path in write(parser.parse_args().folder / "models"):
        print(path)


if __name__ == "__main__":
    main()
