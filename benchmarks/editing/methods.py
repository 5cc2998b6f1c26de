"""Ways to edit a photograph, side by side: each takes pictures and edits and gives pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoPipelineForImage2Image
from torch import Tensor

from benchmarks.editing.edits import EditingError, SceneEdit
from lib_ebca.hosts.diffusers import encoded, energy_attention
from lib_ebca.hosts.inversion import edit_scheduler, invert, latents_of
from lib_ebca.inversion import EXACT, Inversion
from lib_ebca.plan import Edit, Plan
from lib_ebca.regularisation import PUBLISHED, Regularisation

INVERSIONS: dict[str, dict[str, Any]] = {
    "fixed-point": {"method": "fixed-point", "fixed_point": EXACT},
    "published": {"method": "published", "regularisation": PUBLISHED},
    "plain": {"method": "published", "regularisation": Regularisation(rounds=0)},
}


@dataclass(frozen=True)
class Method:
    """A way to edit.

    Attributes:
        name: as it stands in the table.
        inversion: one of INVERSIONS, None for img2img.
        swap: whether the prompt is swapped for the one wanted; else the edits of a plan do it.
        strength: of img2img.
    """

    name: str
    inversion: str | None
    swap: bool
    strength: float = 0.0


METHODS = (
    Method("EBCA, fixed-point inversion", "fixed-point", swap=False),
    Method("EBCA, published inversion", "published", swap=False),
    Method("swapped prompt, plain DDIM inversion", "plain", swap=True),
    Method("swapped prompt, fixed-point inversion", "fixed-point", swap=True),
    Method("img2img 0.5", None, swap=True, strength=0.5),
    Method("img2img 0.75", None, swap=True, strength=0.75),
)


@dataclass(frozen=True)
class Sampling:
    """How pictures are sampled, and how strongly the edits of a plan act.

    Attributes:
        steps: sampling steps.
        guidance: guidance scale.
        add: strength of what comes.
        take: strength of what goes, to be subtracted.
        start: fraction of the pass after which both act.
        gamma: BCU on both editorial contexts.
        batch: pictures at once.
    """

    steps: int = 50
    guidance: float = 7.5
    add: float = 0.75
    take: float = 0.65
    start: float = 0.5
    gamma: float = 6e-4
    batch: int = 16

    def __post_init__(self) -> None:
        if self.steps < 2 or self.batch < 1:
            raise EditingError(f"steps is {self.steps} and batch {self.batch}: they should be at least 2 and 1")


def plan_of(edit: SceneEdit, sampling: Sampling) -> Plan:
    """The edit as a plan."""
    common = {"start": sampling.start, "attn": sampling.gamma, "norm": sampling.gamma}
    edits = [Edit(edit.added, sampling.add, **common)]
    if edit.removed is not None:
        edits.append(Edit(edit.removed, -sampling.take, **common))
    return Plan(None, tuple(edits))


def prepared(pipe: Any) -> Any:
    """The pipeline with the sampler that the inversions invert."""
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = edit_scheduler(pipe)
    return pipe


class Batch:
    """Pictures that are edited together; an inversion is made once for all methods that start from it.

    Args:
        pipe: a :func:`prepared` text-to-image pipeline.
        sampling: how to sample.
        edits: what is to change.
        before: (B, 3, H, W) in [0, 1], the pictures.
    """

    def __init__(self, pipe: Any, sampling: Sampling, edits: Sequence[SceneEdit], before: Tensor) -> None:
        self.pipe, self.sampling, self.edits, self.before = pipe, sampling, edits, before
        self._inverted: dict[str, Inversion] = {}

    def edited(self, method: Method) -> tuple[Tensor, int]:
        """The pictures (B, 3, H, W) in [0, 1] after a method, and the evaluations of the UNet each took."""
        if method.inversion is None:
            return self._varied(method.strength), int(self.sampling.steps * method.strength)
        found = self._noise(method.inversion)
        captions = [edit.caption for edit in self.edits]
        words = {"prompt": captions, "negative_prompt": captions}
        if method.swap:
            words = {"prompt": [edit.swapped for edit in self.edits], "negative_prompt": [""] * len(self.edits)}
        plans = [plan_of(edit, self.sampling) for edit in self.edits]
        with encoded(self.pipe) if method.swap else energy_attention(self.pipe, plans) as run:
            result = self.pipe(**words, **self._common(), latents=found.latents.to(self.pipe.unet.dtype))
        if run.comments:
            raise EditingError(run.comments[0])
        return result.images.float().cpu(), found.evaluations + self.sampling.steps

    def _noise(self, inversion: str) -> Inversion:
        if inversion not in self._inverted:
            self._inverted[inversion] = invert(
                self.pipe,
                latents_of(self.pipe, self.before),
                [edit.caption for edit in self.edits],
                steps=self.sampling.steps,
                seeds=tuple(range(len(self.edits))),
                **INVERSIONS[inversion],
            )
        return self._inverted[inversion]

    def _varied(self, strength: float) -> Tensor:
        pipe = AutoPipelineForImage2Image.from_pipe(self.pipe)
        pipe.set_progress_bar_config(disable=True)
        with encoded(pipe):
            result = pipe(
                prompt=[edit.swapped for edit in self.edits],
                negative_prompt=[""] * len(self.edits),
                image=self.before,
                strength=strength,
                generator=[torch.Generator().manual_seed(row) for row in range(len(self.edits))],
                **self._common(),
            )
        images: Tensor = result.images
        return images.float().cpu()

    def _common(self) -> dict[str, Any]:
        return {
            "num_inference_steps": self.sampling.steps,
            "guidance_scale": self.sampling.guidance,
            "output_type": "pt",
        }
