"""A CLIP tokenizer over bytes with a few merged words, and small random text encoders."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WORDS = ("cat", "dog", "shirt", "sofa", "castle")


def tokenizer(pad_token: str = "<|endoftext|>") -> Any:
    """`cat` is one token, `cats` two (ca|t|s are bytes and merges, the plural has no merge of its own)."""
    alphabet = sorted(ByteLevel.alphabet())
    # SD 2 pads with "!", which is token 0.
    alphabet.insert(0, alphabet.pop(alphabet.index("!")))
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            if (pieces[0], pieces[1]) not in merges:
                merges.append((pieces[0], pieces[1]))
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    spellings = [*alphabet, *(f"{c}</w>" for c in alphabet), *dict.fromkeys(a + b for a, b in merges)]
    vocabulary = {spelling: i for i, spelling in enumerate([*spellings, "<|startoftext|>", "<|endoftext|>"])}
    if int(transformers.__version__.partition(".")[0]) >= 5:
        return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=77)
    # Before version 5 a tokenizer reads its vocabulary from files alone.
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "vocab.json", Path(folder) / "merges.txt"
        files[0].write_text(json.dumps(vocabulary), encoding="utf-8")
        lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
        files[1].write_text("\n".join(lines) + "\n", encoding="utf-8")
        return CLIPTokenizer(*map(str, files), pad_token=pad_token, model_max_length=77)


def text_encoder(tokens: Any, seed: int, projection: bool = False, hidden: int = 32, **extra: Any) -> Any:
    """A CLIPTextModel of three layers, with `projection` a CLIPTextModelWithProjection."""
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=hidden,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        **{"projection_dim": 24, **extra},
    )
    model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()
    # A fresh layer norm gives contexts whose mean is nothing but rounding, and emphasis restores that mean. Trained
    # encoders have a mean.
    getattr(model, "text_model", model).final_layer_norm.bias.data.normal_(0.2, 0.1)
    return model
