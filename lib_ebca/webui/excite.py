"""Subjects in the WebUI: the sampler's own latent, moved in place before the first evaluation of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from modules import prompt_parser, shared
from torch import Tensor

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.excitation import Excitation
from lib_ebca.attention.excite_record import subjects_told
from lib_ebca.attention.subjects import Subjects
from lib_ebca.hosts.ldm import levels_of
from lib_ebca.webui.encode import Part
from lib_ebca.webui.hosting import Hosting


class Exciter:
    """Moves the latents of one pass.

    Args:
        parts: the conditional rows of the batch, image by image.
        host: whose model it is.
        steps: evaluations of the pass.
        looks_twice: whether the sampler evaluates twice a step.
        mask: (H, W), where the pictures are moved, or None for everywhere.
        tell: takes a sentence for the user.
        follow: takes the cascade that the network's layers are to follow; None gives them back.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        host: Hosting,
        steps: int,
        looks_twice: bool,
        mask: Tensor | None,
        tell: Callable[[str], None],
        follow: Callable[[Cascade | None], None],
    ) -> None:
        self._parts, self._looks_twice, self._tell, self._follow = tuple(parts), looks_twice, tell, follow
        self._host = host
        images = 1 + max(part.image for part in parts)
        own = [[row for row, part in enumerate(parts) if part.image == image] for image in range(images)]
        # Of an image that AND divides, one part after the other moves the latent that they share.
        self._turns = [[rows[turn] if turn < len(rows) else None for rows in own] for turn in range(max(map(len, own)))]
        self._excitations = [
            Excitation(
                [Subjects()] * images,
                steps,
                levels_of(host.unet),
                masks=[mask] * images,
                tell=tell,
                stopped=lambda: bool(shared.state.interrupted or shared.state.skipped),
            )
            for _ in self._turns
        ]

    def move(self, denoiser: Any, x: Tensor, sigma: Tensor, condition: Any, image_condition: Tensor) -> None:
        """Change ``x``, the latents of every image as the sampler goes on with them, if this evaluation asks for it."""
        step = int(denoiser.step)
        if self._looks_twice and step % 2:
            return
        for turn, excitation in zip(self._turns, self._excitations, strict=True):
            excitation.read([self._subjects(row, step) for row in turn])
            if excitation.wants(step):
                # What the host makes under inference mode takes no part in gradients.
                with torch.inference_mode(False):
                    moved = self._moved(
                        denoiser, excitation, turn, x.clone(), sigma.clone(), condition, image_condition
                    )
                x.copy_(moved)

    def told(self) -> None:
        """Say what became of the subjects."""
        images = len(self._turns[0])
        for image in range(images):
            for excitation in self._excitations:
                for sentence in subjects_told(excitation.records, image):
                    self._tell(sentence if images == 1 else f"Picture {image + 1}: {sentence}")

    def _subjects(self, row: int | None, step: int) -> Subjects:
        subjects = None if row is None else self._parts[row].subjects
        return Subjects() if subjects is None else subjects.stages[subjects.index(step)]

    def _moved(
        self,
        denoiser: Any,
        excitation: Excitation,
        turn: Sequence[int | None],
        x: Tensor,
        sigma: Tensor,
        condition: Any,
        image_condition: Tensor,
    ) -> Tensor:
        _, rows = prompt_parser.reconstruct_multicond_batch(condition, denoiser.step)
        # Step sizes are in the latent's own units.
        scale = self._host.scale(denoiser, sigma)

        def evaluate(leaf: Tensor, images: list[int], cascade: Cascade) -> None:
            own = [row for image in images if (row := turn[image]) is not None]
            self._follow(cascade)
            try:
                back = leaf / (scale[images] if isinstance(scale, Tensor) else scale)
                read, beside = _rows(rows, own), image_condition[images].clone()
                self._host.predict(denoiser, back.to(x.dtype), sigma[images], read, beside)
            finally:
                self._follow(None)

        return (excitation.altered(int(denoiser.step), x * scale, evaluate) / scale).to(x.dtype)


def _rows(whole: Any, rows: Sequence[int]) -> Any:
    if isinstance(whole, dict):
        return {name: each[list(rows)].clone() for name, each in whole.items()}
    return whole[list(rows)].clone()


def asked(parts: Sequence[Part]) -> bool:
    """Whether any picture of a batch has subjects."""
    return any(any(stage.subjects for stage in part.subjects.stages) for part in parts if part.subjects is not None)
