"""What BLIP says of a picture, compared with what was asked: the text-text similarity of Attend-and-Excite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..alignment.prompts import Item
from ..alignment.scoring import Metric, Scores
from .clip import ClipEncoder
from .loading import as_images, load

DEFAULT = "Salesforce/blip-image-captioning-base"
OPENING = "a picture of"
BEAMS, LONGEST = 3, 30


class BlipCaptioner:
    """Captions by BLIP: beam search from the opening "a picture of", which is taken off again.

    Raises:
        ScorerError: there is no such model.
    """

    def __init__(self, name: str = DEFAULT, device: str | torch.device = "cpu") -> None:
        from transformers import BlipForConditionalGeneration, BlipProcessor

        self.model, self._processor = load(name, BlipForConditionalGeneration, BlipProcessor, device)

    @torch.no_grad()
    def captions(self, pictures: Tensor) -> list[str]:
        """One caption for each picture (B, 3, H, W) in [0, 1]."""
        images = as_images(pictures)
        given = self._processor(images=images, text=[OPENING] * len(images), return_tensors="pt").to(self.model.device)
        tokens = self.model.generate(
            pixel_values=given["pixel_values"],
            input_ids=given["input_ids"],
            attention_mask=given["attention_mask"],
            num_beams=BEAMS,
            max_length=LONGEST,
        )
        texts = self._processor.batch_decode(tokens, skip_special_tokens=True)
        return [text.removeprefix(OPENING).strip() for text in texts]


class BlipScorer:
    """CLIP similarity of the caption, as it is, and the prompt in the templates."""

    metrics: tuple[Metric, ...] = (Metric("caption", "CLIP similarity of BLIP's caption and the prompt", share=False),)

    def __init__(self, captioner: BlipCaptioner, encoder: ClipEncoder) -> None:
        self.captioner = captioner
        self.encoder = encoder

    def score(self, pictures: Tensor, batch: Sequence[Item]) -> Scores:
        said = self.encoder.texts(self.captioner.captions(pictures))
        asked = torch.stack([self.encoder.described(item.prompt.text) for item in batch])
        return {"caption": (said * asked).sum(1).tolist()}
