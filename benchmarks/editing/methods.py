"""Ways to edit a photograph, side by side: each takes pictures and edits and gives pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from diffusers import AutoPipelineForImage2Image
from torch import Tensor

from lib_ebca.hosts.diffusers import encoded, energy_attention
from lib_ebca.hosts.inversion import edit_scheduler, invert, latents_of
from lib_ebca.language.plan import Concept, Edit, Follow, Plan
from lib_ebca.methods.head_vectors import HeadVectors
from lib_ebca.photo.inversion import EXACT, Inversion
from lib_ebca.photo.regularisation import Regularisation

from .ground import EditingError, WordedEdit

FIXED_POINT, PLAIN = "fixed-point", "plain"
INVERSIONS: dict[str, dict[str, Any]] = {
    FIXED_POINT: {"method": "fixed-point", "fixed_point": EXACT},
    PLAIN: {"method": "published", "regularisation": Regularisation(rounds=0)},
}
OBJECT, SCENE = "object", "scene"
CONCEPT_OF = {
    **{"colour": "Colours", "shape": "Shapes", "restyle": "Styles"},
    **{"cat to dog": "Animals", "horse to zebra": "Animals", "glasses put on": "Worn"},
}
"""What kind of word an edit swaps, as the embedded models' head relevance vectors call it."""


@dataclass(frozen=True)
class PlanSettings:
    """The caption stays the prompt and the negative prompt, and the two edits of a plan act.

    Attributes:
        guidance: guidance scale.
        words: what the edits say: "object" names the object, "scene" all that is in the picture, as captions do.
        add: strength of what comes.
        take: strength of what goes, to be subtracted.
        start: fraction of the pass after which both act.
        gamma: BCU on both editorial contexts.
    """

    guidance: float = 7.5
    words: str = OBJECT
    add: float = 0.75
    take: float = 0.65
    start: float = 0.0
    gamma: float = 0.0


@dataclass(frozen=True)
class SwapSettings:
    """The prompt is swapped for a caption of the picture that is wanted.

    Attributes:
        guidance: guidance scale.
        negative: whether the caption of the picture as it was is the negative prompt; else that is empty.
    """

    guidance: float = 7.5
    negative: bool = False


@dataclass(frozen=True)
class NoiseSettings:
    """img2img under a caption of the picture that is wanted.

    Attributes:
        guidance: guidance scale.
        strength: fraction of the pass that is made anew.
    """

    guidance: float = 7.5
    strength: float = 0.75


@dataclass(frozen=True)
class FollowSettings:
    """A caption of the picture that is wanted follows the reconstruction under the old one (Prompt-to-Prompt).

    Attributes:
        guidance: guidance scale; the old caption is the negative prompt, so that the reconstruction stays.
        cross: fraction of the pass in which words follow.
        self_: fraction in which pixels follow.
        concept: P2P-HRV: the words that are new keep their own maps, times the head relevance of what they are.
    """

    guidance: float = 3.0
    cross: float = 0.8
    self_: float = 0.4
    concept: bool = False


@dataclass(frozen=True)
class Method:
    """A way to edit, with its settings.

    Attributes:
        name: as it stands in the table.
        settings: which decide what kind of method it is.
        inversion: where sampling starts, one of INVERSIONS; img2img has none.
    """

    name: str
    settings: PlanSettings | SwapSettings | NoiseSettings | FollowSettings
    inversion: str | None = FIXED_POINT

    @property
    def label(self) -> str:
        """The settings in words; of a plan the inversion too, where it is not the usual one."""
        words = [
            f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in asdict(self.settings).items()
        ]
        unusual = isinstance(self.settings, PlanSettings) and self.inversion == PLAIN
        return ", ".join([*words, *["plain DDIM inversion"] * unusual])


def plan_of(edit: WordedEdit, settings: PlanSettings) -> Plan:
    """The edit as a plan."""
    scene = settings.words == SCENE
    comes, goes = (edit.swapped, edit.caption) if scene else (edit.added, edit.removed)
    common = {"start": settings.start, "attn": settings.gamma, "norm": settings.gamma}
    edits = [Edit(comes, settings.add, **common)] if settings.add else []
    if goes is not None and settings.take:
        edits.append(Edit(goes, -settings.take, **common))
    return Plan(None, tuple(edits))


def follow_of(edit: WordedEdit, settings: FollowSettings, source: int, known: Sequence[str] = ()) -> Plan:
    """The edit as a plan that follows prompt number ``source``.

    Args:
        edit: what is to change.
        settings: of the method.
        source: the old caption's number in the call.
        known: concepts of the model's head relevance vectors; one that they lack is left out.
    """
    new = [word for word in edit.swapped.split() if word not in edit.caption.split()]
    concept = CONCEPT_OF.get(edit.kind)
    strengthened = new if settings.concept and concept in known else []
    return Plan(
        concepts=tuple(Concept(word, ((str(concept), 1.0),), until=settings.cross) for word in strengthened),
        follow=Follow(source, cross=settings.cross, self_=settings.self_, keep=tuple(strengthened)),
    )


def prepared(pipe: Any) -> Any:
    """The pipeline with the sampler that the inversions invert."""
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = edit_scheduler(pipe)
    return pipe


@dataclass(frozen=True, eq=False)
class Edited:
    """Pictures (B, 3, H, W) in [0, 1]; how often the UNet saw each, inversion included; seconds without it."""

    pictures: Tensor
    evaluations: int
    seconds: float


class Batch:
    """Scenes that are edited together, in whatever way; an inversion is made once for all that start from it.

    Args:
        pipe: a :func:`prepared` text-to-image pipeline.
        steps: sampling steps.
        before: (B, 3, H, W) in [0, 1], the pictures.
        captions: what is in them.
        first: number of the first one; img2img takes its seeds from it.
        vectors: the model's head relevance, for methods that strengthen concepts.
    """

    def __init__(
        self,
        pipe: Any,
        steps: int,
        before: Tensor,
        captions: Sequence[str],
        first: int = 0,
        vectors: HeadVectors | None = None,
    ) -> None:
        self.vectors = vectors
        self.pipe, self.steps, self.before, self.captions = pipe, steps, before, list(captions)
        self.seeds = range(first, first + len(before))
        self._inverted: dict[str, Inversion] = {}

    def edited(self, method: Method, edits: Sequence[WordedEdit]) -> Edited:
        """The pictures after a method."""
        spent = 0 if method.inversion is None else self._noise(method.inversion).evaluations
        begun = time.perf_counter()
        calls: list[int] = []
        watch = self.pipe.unet.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
        try:
            pictures = self._sampled(method, edits)
        finally:
            watch.remove()
        seconds = time.perf_counter() - begun
        return Edited(pictures, spent + sum(calls) // len(self.captions), seconds)

    def _sampled(self, method: Method, edits: Sequence[WordedEdit]) -> Tensor:
        settings = method.settings
        if isinstance(settings, NoiseSettings):
            return self._varied(settings, [edit.swapped for edit in edits])
        assert method.inversion is not None
        common = self._common(settings.guidance)
        common["latents"] = self._noise(method.inversion).latents.to(self.pipe.unet.dtype)
        if isinstance(settings, SwapSettings):
            swapped, negative = [edit.swapped for edit in edits], self.captions if settings.negative else None
            with encoded(self.pipe):
                return _pictures(self.pipe(prompt=swapped, negative_prompt=negative, **common))
        if isinstance(settings, FollowSettings):
            return self._followed(settings, edits, common)
        with energy_attention(self.pipe, [plan_of(edit, settings) for edit in edits]) as run:
            pictures = _pictures(self.pipe(prompt=self.captions, negative_prompt=self.captions, **common))
        if run.comments:
            raise EditingError(run.comments[0])
        return pictures

    def _followed(self, settings: FollowSettings, edits: Sequence[WordedEdit], common: dict[str, Any]) -> Tensor:
        """The reconstructions and the edits side by side; the edits alone are wanted."""
        known = () if self.vectors is None else self.vectors.concepts
        plans = [Plan()] * len(edits) + [follow_of(edit, settings, i, known) for i, edit in enumerate(edits)]
        common["latents"] = torch.cat([common["latents"]] * 2)
        prompts = [*self.captions, *(edit.swapped for edit in edits)]
        with energy_attention(self.pipe, plans, vectors=self.vectors) as run:
            pictures = _pictures(self.pipe(prompt=prompts, negative_prompt=self.captions * 2, **common))
        if run.comments:
            raise EditingError(run.comments[0])
        return pictures[len(edits) :]

    def _noise(self, inversion: str) -> Inversion:
        if inversion not in self._inverted:
            latents = latents_of(self.pipe, self.before)
            self._inverted[inversion] = invert(
                self.pipe, latents, self.captions, steps=self.steps, seeds=tuple(self.seeds), **INVERSIONS[inversion]
            )
        return self._inverted[inversion]

    def _varied(self, settings: NoiseSettings, prompts: Sequence[str]) -> Tensor:
        pipe = AutoPipelineForImage2Image.from_pipe(self.pipe)
        pipe.set_progress_bar_config(disable=True)
        with encoded(pipe):
            return _pictures(
                pipe(
                    prompt=list(prompts),
                    image=self.before,
                    strength=settings.strength,
                    generator=[torch.Generator().manual_seed(seed) for seed in self.seeds],
                    **self._common(settings.guidance),
                )
            )

    def _common(self, guidance: float) -> dict[str, Any]:
        return {"num_inference_steps": self.steps, "guidance_scale": guidance, "output_type": "pt"}


def _pictures(result: Any) -> Tensor:
    pictures: Tensor = result.images
    return pictures.float().cpu()
