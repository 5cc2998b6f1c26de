"""Contexts and boosts of a pass, made by the host's own encoders.

So emphasis, embeddings, LoRA, clip skip, scheduling and the pass's own size are what they are for the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from modules import extra_networks, prompt_parser, sd_samplers, shared
from torch import Tensor

from lib_ebca.attention.picture import TokenFactors
from lib_ebca.attention.subjects import Subjects
from lib_ebca.language.plan import Plan
from lib_ebca.methods.head_vectors import HeadVectors
from lib_ebca.webui import concepts, tokens
from lib_ebca.webui.intent import Intent

Stage = TypeVar("Stage")


@dataclass(frozen=True, eq=False)
class Scheduled(Generic[Stage]):
    """A value that changes over the steps: each of ``stages`` holds to the step of the same place in ``ends``."""

    ends: tuple[int, ...]
    stages: tuple[Stage, ...]

    def index(self, step: int) -> int:
        """The stage at a step, as the host finds it: the first one if all have ended."""
        return next((i for i, end in enumerate(self.ends) if step <= end), 0)


@dataclass(frozen=True, eq=False)
class Part:
    """One conditional row of an image: its plan and editorial contexts, this row's boosts, factors and subjects."""

    image: int
    plan: Plan
    edits: tuple[Scheduled[Tensor], ...]
    boosts: Scheduled[tuple[float, ...]] | None
    factors: Scheduled[tuple[TokenFactors, ...]] | None = None
    subjects: Scheduled[Subjects] | None = None


class Encoder:
    """Encodes editorial prompts, and keeps those of the last pass of either kind."""

    def __init__(self) -> None:
        # The host's own caches are shaped like this: what was asked, what came of it; one for each kind of pass,
        # since its key leaves the second pass's size out.
        self._caches: dict[bool, list[Any]] = {False: [None, None], True: [None, None]}

    def parts(self, p: Any, intents: Sequence[Intent], prompts: Sequence[str], hires: bool) -> tuple[Part, ...]:
        """The parts of a batch, image by image.

        Args:
            p: the host's processing object.
            intents: one for each image.
            prompts: one for each image, as the host encodes it in this pass.
            hires: whether this is the second pass of hires fix.

        Raises:
            WordError: a boost or concept names a word that its prompt does not hold.
            VectorsError: there are no head relevance vectors for a concept.
        """
        vectors = concepts.vectors_of(p.sd_model, [each.plan for each in intents])
        contexts = self._contexts(p, [edit.text for each in intents for edit in each.plan.edits], hires)
        result = []
        for image, (each, prompt) in enumerate(zip(intents, prompts, strict=True)):
            edits = tuple(contexts[edit.text] for edit in each.plan.edits)
            boosts = _staged(p, prompt, hires, _boosts(each.plan))
            factors = _staged(p, prompt, hires, _factors(each.plan, vectors))
            subjects = _subjects(p, prompt, each.plan, hires, vectors)
            for own in zip(boosts, factors, subjects, strict=True):
                result.append(Part(image, each.plan, edits, *own))
        return tuple(result)

    def _contexts(self, p: Any, texts: Sequence[str], hires: bool) -> dict[str, Scheduled[Tensor]]:
        wanted = list(dict.fromkeys(texts))
        if not wanted:
            return {}
        width, height = (p.hr_upscale_to_x, p.hr_upscale_to_y) if hires else (p.width, p.height)
        networks = p.hr_extra_network_data if hires else p.extra_network_data
        read = [extra_networks.parse_prompt(text)[0] for text in wanted]
        if read != wanted:
            p.comment("A network tag such as <lora:…> inside an edit does nothing: write it into the prompt.")
        conditions = p.get_conds_with_caching(
            prompt_parser.get_learned_conditioning,
            prompt_parser.SdConditioning(read, width=width, height=height),
            p.firstpass_steps,
            [self._caches[hires]],
            networks,
            second_steps(p, hires),
        )
        return {text: _scheduled(schedule) for text, schedule in zip(wanted, conditions, strict=True)}


def _scheduled(schedule: Sequence[Any]) -> Scheduled[Tensor]:
    conditions = [entry.cond for entry in schedule]
    return Scheduled(
        tuple(entry.end_at_step for entry in schedule),
        tuple(each["crossattn"] if isinstance(each, dict) else each for each in conditions),
    )


def second_steps(p: Any, hires: bool) -> int | None:
    """How many steps the second pass of hires fix announces; None for the first pass."""
    if not hires:
        return None
    steps: int = p.hr_second_pass_steps or p.steps
    config = sd_samplers.find_sampler_config(p.hr_sampler_name or p.sampler_name)
    return config.total_steps(steps) if config else steps


def subprompts(prompt: str, steps: int, hires_steps: int | None = None) -> list[list[tuple[int, str]]]:
    """The parts of a prompt that ``AND`` divides, each with its stages: the step it lasts to, and the text."""
    indexes, flat, _ = prompt_parser.get_multicond_prompt_list([prompt])
    # Neo has left the old way behind, and its parser does not take the word.
    old = getattr(shared.opts, "use_old_scheduling", None)
    schedules = prompt_parser.get_learned_conditioning_prompt_schedules(
        flat, steps, hires_steps, *(() if old is None else (old,))
    )
    return [[(end, text) for end, text in schedules[index]] for index, _ in indexes[0]]


Read = Callable[[Any, Sequence[str], Sequence[str]], list[Stage]]
"""Takes the encoder, texts and the other pass's texts; gives something for each of the texts."""


def _staged(p: Any, prompt: str, hires: bool, read: Read[Stage] | None) -> list[Scheduled[Stage] | None]:
    """What is read off each stage of each part of a prompt; None for all parts where there is nothing to read."""
    steps = p.firstpass_steps
    parts = subprompts(prompt, steps, second_steps(p, hires))
    encoder = tokens.text_encoder(p.sd_model) if read is not None else None
    if encoder is None or read is None:
        return [None] * len(parts)
    # Scheduling spreads the stages of a prompt over both passes.
    other = subprompts(prompt, steps, second_steps(p, not hires)) if getattr(p, "enable_hr", False) else []
    found = iter(read(encoder, _texts(parts), _texts(other)))
    return [Scheduled(tuple(end for end, _ in stages), tuple(next(found) for _ in stages)) for stages in parts]


def _boosts(plan: Plan) -> Read[tuple[float, ...]] | None:
    if not plan.boosts:
        return None
    return lambda encoder, texts, other: tokens.boost_weights(encoder, texts, plan.boosts, other)


def _factors(plan: Plan, vectors: HeadVectors | None) -> Read[tuple[TokenFactors, ...]] | None:
    if vectors is None or not plan.concepts:
        return None
    return lambda encoder, texts, other: concepts.factors_of(encoder, texts, plan.concepts, vectors, other)


def _subjects(
    p: Any, prompt: str, plan: Plan, hires: bool, vectors: HeadVectors | None
) -> list[Scheduled[Subjects] | None]:
    parts = subprompts(prompt, p.firstpass_steps, second_steps(p, hires))
    encoder = tokens.text_encoder(p.sd_model) if any(each.active for each in plan.excite) else None
    if encoder is None:
        return [None] * len(parts)
    several_encoders = bool(getattr(p.sd_model, "is_sdxl", False))
    found = iter(tokens.subjects(encoder, parts, plan.excite, several_encoders, vectors))
    return [Scheduled(tuple(end for end, _ in stages), tuple(next(found) for _ in stages)) for stages in parts]


def _texts(parts: Sequence[Sequence[tuple[int, str]]]) -> list[str]:
    return [text for stages in parts for _, text in stages]
