"""What came of a pass: who acted, as sentences under the pictures, and whether the pictures are numbers at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from modules import devices
from torch import Tensor

from lib_ebca.attention.acted import acted
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Values
from lib_ebca.language.step_sizes import not_finite
from lib_ebca.webui.encode import Part


class EBCA(ValueError):
    """What was asked cannot be done; ``str()`` is one sentence, before which the host shows the name of this class."""


class Account:
    """Counts what the plans of a pass do.

    Args:
        parts: the conditional rows of the batch.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._values: dict[int, tuple[Values, ...]] = {}
        self._layers: set[int] = set()

    def evaluated(self, cascade: Cascade, step: int) -> None:
        """The network was called; ``step`` is the number of the evaluation, however often the host calls for it."""
        self._values[step] = tuple(table.at(step) for table in cascade.timetables)
        if cascade.evaluation is not None:
            self._layers |= cascade.evaluation.served

    def told(self) -> Iterator[str]:
        """A sentence for each picture; one for all where they have the same plan; none where no layer was served."""
        if not self._layers:
            return
        own = {part.image: row for row, part in reversed(list(enumerate(self._parts)))}
        sentences = {
            image: acted(self._parts[row].plan, [values[row] for values in self._values.values()], len(self._layers))
            for image, row in sorted(own.items())
        }
        if len(set(sentences.values())) == 1:
            sentences = {0: sentences[0]}
        for image, sentence in sentences.items():
            if sentence:
                yield sentence if len(sentences) == 1 else f"Picture {image + 1}: {sentence}"


def fault(parts: Sequence[Part], samples: Tensor | None) -> str | None:
    """What to say where a pass ended in pictures that are not finite; None where all of them are.

    Raises:
        EBCA: with the host's own words, where the host stops at such pictures.

    Args:
        parts: the conditional rows of the batch.
        samples: (B, C, H, W), the latents; None where a pass was interrupted before there were any.
    """
    lost = [
        image
        for image, latent in enumerate(() if samples is None else samples)
        if not bool(torch.isfinite(latent).all())
    ]
    if not lost:
        return None
    sentence = not_finite([part.plan for part in parts if part.image in lost])
    try:
        devices.test_for_nans(torch.full((1,), math.nan), "unet")
    except devices.NansException as error:
        raise EBCA(f"{sentence} (The WebUI: {error})") from error
    return sentence
