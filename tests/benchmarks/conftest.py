"""A random Stable Diffusion of the embedded model's kind, as small as it gets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
)

from training.networks import BETAS, TINY, make_text_encoder, make_unet, make_vae
from training.tokenizer import build_tokenizer

CLIP_SIZE = BLIP_SIZE = 32
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
BLIP_WORDS = [*_SPECIAL, "a", "picture", "of", "red", "blue", "circle", "square", "and"]


@pytest.fixture(scope="session")
def shapes_tokenizer() -> CLIPTokenizer:
    return build_tokenizer()


@pytest.fixture(scope="session")
def tiny_shapes(shapes_tokenizer: CLIPTokenizer) -> StableDiffusionPipeline:
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline(
        vae=make_vae(TINY).eval(),
        text_encoder=make_text_encoder(shapes_tokenizer, TINY).eval(),
        tokenizer=shapes_tokenizer,
        unet=make_unet(TINY).eval(),
        scheduler=DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def tiny_folder(tiny_shapes: StableDiffusionPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_shapes.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip_folder(shapes_tokenizer: CLIPTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**layers, "vocab_size": len(shapes_tokenizer), "max_position_embeddings": 77}
    text |= {"eos_token_id": shapes_tokenizer.eos_token_id, "bos_token_id": shapes_tokenizer.bos_token_id}
    vision = {**layers, "image_size": CLIP_SIZE, "patch_size": 16}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    size = {"height": CLIP_SIZE, "width": CLIP_SIZE}
    images = CLIPImageProcessor(size={"shortest_edge": CLIP_SIZE}, crop_size=size)
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    CLIPProcessor(images, shapes_tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def blip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    folder = tmp_path_factory.mktemp("blip")
    (folder / "words.txt").write_text("\n".join(BLIP_WORDS))
    tokenizer = BertTokenizer(str(folder / "words.txt"))
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**layers, "vocab_size": len(BLIP_WORDS), "encoder_hidden_size": 16, "bos_token_id": 5, "sep_token_id": 3}
    text |= {"eos_token_id": 3, "pad_token_id": 0, "max_position_embeddings": 40}
    vision = {**layers, "image_size": BLIP_SIZE, "patch_size": 16}
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=8)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    images = BlipImageProcessor(size={"height": BLIP_SIZE, "width": BLIP_SIZE})
    BlipProcessor(images, tokenizer).save_pretrained(folder)
    return folder
