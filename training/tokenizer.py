"""The tokenizer: CLIP's byte-level BPE with word ends, trained on our captions, and small.

Every byte is a token, alone and as the end of a word, so any prompt can be written; the captions' frequent words are
one token, the rare ones stay in pieces, as in the real thing.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTokenizer

from .worlds import NOTHING, WORLDS, World

LENGTH = 77
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
END = "</w>"
CAPTIONS = 20_000


def learn_merges(texts: list[str], count: int) -> list[tuple[str, str]]:
    """The first `count` byte-pair merges of the texts, most frequent first."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix=END))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # The trainer counts its own word-end letters into the size, so it is given room and the merges are cut.
    trainer = trainers.BpeTrainer(
        vocab_size=2 * len(alphabet) + 2 * count, initial_alphabet=alphabet, end_of_word_suffix=END, show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    merges = json.loads(bpe.to_str())["model"]["merges"]
    return [(a, b) for a, b in merges][:count]


def build_tokenizer(seed: int = 0, world: World = WORLDS["shapes"]) -> CLIPTokenizer:
    """A CLIPTokenizer of 256 bytes, 256 word-end bytes, the merges and the two special tokens."""
    merges = learn_merges(world.texts(CAPTIONS, seed), world.merges)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(a + END for a in alphabet), *(a + b for a, b in merges), BOS, EOS]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """tokenizer.json and its config, and vocab.json and merges.txt for readers of the older form."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


class CaptionTokens:
    """Token ids of captions given as word numbers, by table look-up on any device: no text is made or parsed."""

    def __init__(self, tokenizer: CLIPTokenizer, device: torch.device | str, words: tuple[str, ...]) -> None:
        pieces = [tokenizer(word, add_special_tokens=False).input_ids for word in words]
        width = max(len(p) for p in pieces)
        # The last row is the word that is not there; NOTHING = -1 finds it.
        table = torch.full((len(words) + 1, width), -1)
        for row, piece in enumerate(pieces):
            table[row, : len(piece)] = torch.tensor(piece)
        assert NOTHING == -1
        self._table = table.to(device)
        self.bos, self.eos = int(tokenizer.bos_token_id), int(tokenizer.eos_token_id)

    def __call__(self, words: Tensor, dropped: Tensor | None = None) -> Tensor:
        """(B, slots) word numbers to (B, 77) ids as the tokenizer pads them; `dropped` rows become the empty prompt."""
        packed, _ = self._packed(words, dropped)
        packed = torch.where(packed < 0, self.eos, packed)
        bos = packed.new_full((len(packed), 1), self.bos)
        return torch.cat([bos, packed, packed.new_full((len(packed), 1), self.eos)], 1)

    def slots(self, words: Tensor, dropped: Tensor | None = None) -> Tensor:
        """(B, 77) the slot whose word each token comes from, -1 for the start and all that follows the last word."""
        packed, slot = self._packed(words, dropped)
        return functional.pad(torch.where(packed < 0, -1, slot), (1, 1), value=-1)

    def _packed(self, words: Tensor, dropped: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, 75) ids of the words that are there without gaps, then -1; and the slots that they come from."""
        pieces = self._table[words].flatten(1)
        if dropped is not None:
            pieces = pieces.masked_fill(dropped[:, None], -1)
        order = (pieces < 0).int().argsort(dim=1, stable=True)[:, : LENGTH - 2]
        room = (0, LENGTH - 2 - order.shape[1])
        slot = order // self._table.shape[1]
        return functional.pad(pieces.gather(1, order), room, value=-1), functional.pad(slot, room, value=-1)
