"""Subjects in the WebUI: the sampler's own latent, moved in place before the first evaluation of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from modules import prompt_parser, shared
from torch import Tensor, nn

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.excitation import Excitation
from lib_ebca.attention.excite_record import subjects_told
from lib_ebca.attention.subjects import Subjects
from lib_ebca.hosts.ldm import levels_of, unchecked
from lib_ebca.hosts.patch import frozen
from lib_ebca.webui.encode import Part, Scheduled


class Exciter:
    """Moves the latents of one pass.

    Args:
        parts: the conditional rows of the batch, image by image.
        unet: the network.
        steps: evaluations of the pass.
        looks_twice: whether the sampler evaluates twice a step.
        mask: (H, W), where the pictures are moved, or None for everywhere.
        tell: takes a sentence for the user.
        follow: takes the cascade that the network's layers are to follow; None gives them back.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        unet: nn.Module,
        steps: int,
        looks_twice: bool,
        mask: Tensor | None,
        tell: Callable[[str], None],
        follow: Callable[[Cascade | None], None],
    ) -> None:
        self._parts, self._looks_twice, self._tell, self._follow = tuple(parts), looks_twice, tell, follow
        images = 1 + max(part.image for part in parts)
        own = [[row for row, part in enumerate(parts) if part.image == image] for image in range(images)]
        # Of an image that AND divides, one part after the other moves the latent that they share.
        self._turns = [[rows[turn] if turn < len(rows) else None for rows in own] for turn in range(max(map(len, own)))]
        self._excitations = [
            Excitation(
                [Subjects()] * images,
                steps,
                levels_of(unet),
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
        model = denoiser.inner_model
        # k-diffusion's samplers have the latent times sqrt(sigma^2 + 1); step sizes are in the latent's own units.
        scale = model.get_scalings(sigma)[-1].view(-1, 1, 1, 1) if hasattr(model, "get_scalings") else 1.0

        def evaluate(leaf: Tensor, images: list[int], cascade: Cascade) -> None:
            own = [row for image in images if (row := turn[image]) is not None]
            self._follow(cascade)
            try:
                back = leaf / (scale[images] if isinstance(scale, Tensor) else scale)
                model(
                    back.to(x.dtype), sigma[images], cond=conditions(_rows(rows, own), image_condition[images].clone())
                )
            finally:
                self._follow(None)

        return (excitation.altered(int(denoiser.step), x * scale, evaluate) / scale).to(x.dtype)


@contextmanager
def ready(unet: nn.Module) -> Iterator[None]:
    """The network as gradients need it, for the length of a pass."""
    with ExitStack() as stack:
        stack.enter_context(frozen(unet))
        stack.enter_context(unchecked(unet))
        yield


def conditions(rows: Any, image: Tensor) -> dict[str, Any]:
    """The host's conditions of some rows, in the form that its model reads."""
    if getattr(shared.sd_model.model, "conditioning_key", None) == "crossattn-adm":
        return {"c_crossattn": [rows], "c_adm": image}
    if isinstance(rows, dict):
        return {**rows, "c_concat": [image]}
    return {"c_crossattn": [rows], "c_concat": [image]}


def _rows(whole: Any, rows: Sequence[int]) -> Any:
    if isinstance(whole, dict):
        return {name: each[list(rows)].clone() for name, each in whole.items()}
    return whole[list(rows)].clone()


def asked(parts: Sequence[Part]) -> bool:
    """Whether any picture of a batch has subjects."""
    return any(any(stage.subjects for stage in part.subjects.stages) for part in parts if part.subjects is not None)


def scheduled(stages: Sequence[tuple[int, Subjects]]) -> Scheduled[Subjects]:
    """Subjects over a prompt's stages, each with the step it lasts to."""
    return Scheduled(tuple(end for end, _ in stages), tuple(subjects for _, subjects in stages))
