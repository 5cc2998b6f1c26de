"""CLIP similarity by the Attend-and-Excite protocol, and CLIP accuracy for edits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..alignment.prompts import Item
from ..alignment.scoring import Metric, Scores
from .loading import ScorerError, as_images, load
from .templates import filled, halves

DEFAULT = "openai/clip-vit-base-patch16"


class ClipEncoder:
    """Texts and pictures as unit vectors of one CLIP. Texts are kept.

    Args:
        name: hub id or folder; the published scores are those of ViT-B/16.
        device: where it runs.
        templated: whether `described` fills a text into the protocol's templates; a CLIP of few words knows none of
            theirs, and is given the text alone.

    Raises:
        ScorerError: there is no such model.
    """

    def __init__(self, name: str = DEFAULT, device: str | torch.device = "cpu", templated: bool = True) -> None:
        from transformers import CLIPModel, CLIPProcessor

        self.model, self._processor = load(name, CLIPModel, CLIPProcessor, device)
        self._templated = templated
        self._kept: dict[str, Tensor] = {}

    @torch.no_grad()
    def pictures(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to (B, D)."""
        pixels = self._processor.image_processor(images=as_images(pictures), return_tensors="pt")["pixel_values"]
        return _unit(_features(self.model.get_image_features(pixel_values=pixels.to(self.model.device))))

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Texts as they are: (B, D). What is too long for the model is cut."""
        tokens = self._processor.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        given = {name: tokens[name].to(self.model.device) for name in ("input_ids", "attention_mask")}
        return _unit(_features(self.model.get_text_features(**given)))

    def described(self, text: str) -> Tensor:
        """(D,): the mean of the text's unit vectors in all templates, of length one again; or the text's own."""
        if text not in self._kept:
            self._kept[text] = _unit(self.texts(filled(text) if self._templated else [text]).mean(0))
        return self._kept[text]

    def likeness(self, picture: Tensor, text: str) -> float:
        """The similarity of a picture's vector (D,) to a text in the templates."""
        return float(picture @ self.described(text))


class ClipScorer:
    """Full-prompt similarity, and the smaller of the similarities of the prompt's two halves.

    Raises:
        ScorerError: a prompt has no " and " nor " with " to be split at.
    """

    metrics: tuple[Metric, ...] = (
        Metric("full", "CLIP similarity of picture and prompt", share=False),
        Metric("minimum", "CLIP similarity of picture and the object that it resembles less", share=False),
    )

    def __init__(self, encoder: ClipEncoder) -> None:
        self.encoder = encoder

    def score(self, pictures: Tensor, batch: Sequence[Item]) -> Scores:
        seen = self.encoder.pictures(pictures)
        full, least = [], []
        for picture, item in zip(seen, batch, strict=True):
            parts = halves(item.prompt.text)
            if parts is None:
                raise ScorerError(
                    f"prompt {item.prompt.text!r} cannot be split into two objects: it should hold ' and ' or ' with '"
                )
            full.append(self.encoder.likeness(picture, item.prompt.text))
            least.append(min(self.encoder.likeness(picture, part) for part in parts))
        return {"full": full, "minimum": least}


def edit_accuracy(encoder: ClipEncoder, pictures: Tensor, target: str, source: str) -> list[bool]:
    """For each edited picture (B, 3, H, W), whether it is closer to the target's text than to the source's.

    The mean of these is the CLIP accuracy of the edit tables, there with ViT-B/32 and plain texts.
    """
    towards, away = encoder.texts([target, source])
    seen = encoder.pictures(pictures)
    return (seen @ towards > seen @ away).tolist()


def _features(output: Any) -> Tensor:
    """The projected vectors: older releases of transformers return them bare."""
    return output if isinstance(output, Tensor) else output.pooler_output


def _unit(vectors: Tensor) -> Tensor:
    vectors = vectors.float()
    return vectors / vectors.norm(dim=-1, keepdim=True)
