"""Captions by a BLIP model that lies in a folder, and the sentence where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import BertTokenizerFast, BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

from lib_ebca.studio.caption import BLIP, caption_of
from lib_ebca.studio.errors import UserError


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BLIP of tiny size with random weights, that can only say "cat"."""
    folder = tmp_path_factory.mktemp("blip")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "a", "cat", "dog"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    width = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(
        BlipConfig(
            text_config={
                **width,
                "vocab_size": len(words),
                "encoder_hidden_size": 16,
                "projection_dim": 16,
                "bos_token_id": 5,
                "sep_token_id": 3,
                "eos_token_id": 3,
                "pad_token_id": 0,
                "is_decoder": True,
            },
            vision_config={**width, "image_size": 32, "patch_size": 16},
        )
    )
    model.text_decoder.cls.predictions.bias.data[7] = 1e4
    processor = BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), tokenizer)
    processor.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def test_a_model_at_hand_is_asked(blip: Path) -> None:
    caption = caption_of(Image.new("RGB", (50, 30), "red"), str(blip))
    assert set(caption.replace("[DEC]", "").split()) == {"cat"}


def test_without_one_the_photograph_needs_a_caption(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="say what is in it with --caption") as raised:
        caption_of(Image.new("RGB", (50, 30)))
    assert BLIP in str(raised.value)
