"""EBCA on diffusers: a context manager for any pipeline that has a ``UNet2DConditionModel``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.utils import is_peft_available, scale_lora_layers, unscale_lora_layers
from torch import Tensor, nn

from lib_ebca.adjoint import NotLinearError
from lib_ebca.cascade import Cascade
from lib_ebca.hosts.patch import replaced
from lib_ebca.hosts.prompts import PromptEncoder, encode_batch
from lib_ebca.hosts.unet import announced, cross_attention_layers, installed, is_compiled, own_projections
from lib_ebca.layer import prepare
from lib_ebca.picture import Picture, Rows, Timetable
from lib_ebca.plan import Plan
from lib_ebca.record import AttentionMaps, EnergyRecord, Recorder
from lib_ebca.words import TokenisedPrompt, boost_weights


class HostError(ValueError):
    """The pipeline, or the way it is called, does not allow what was asked; one sentence says what would."""


@dataclass(frozen=True)
class Announcement:
    """What a pipeline call says of its batch before it samples."""

    pictures: tuple[Picture, ...]
    plans: tuple[Plan, ...]
    guided: bool


@dataclass
class Run:
    """What an :func:`energy_attention` block did, readable during and after it.

    Attributes:
        comments: sentences for the user: what could not be served, and why.
        tokenised: the prompts of the last call, one for each picture.
        recorder: energies and maps of the last pass, if they were asked for.
    """

    comments: list[str] = field(default_factory=list)
    tokenised: tuple[TokenisedPrompt, ...] = ()
    recorder: Recorder | None = None

    @property
    def energies(self) -> list[EnergyRecord]:
        """The energies of the last pass, in the order in which the layers ran."""
        return [] if self.recorder is None else self.recorder.energies

    @property
    def maps(self) -> AttentionMaps:
        """The attention maps of the last pass."""
        return AttentionMaps() if self.recorder is None else self.recorder.maps

    def tell(self, sentence: str) -> None:
        """Add a comment, once."""
        if sentence not in self.comments:
            self.comments.append(sentence)


@contextmanager
def energy_attention(
    pipe: Any,
    plan: Plan | Sequence[Plan],
    *,
    mask: Tensor | None = None,
    record_energies: bool = False,
    record_maps: bool = False,
    emphasis: bool = True,
    drift: bool = False,
) -> Iterator[Run]:
    """Let a pipeline's calls inside the block follow a plan.

    Args:
        pipe: a diffusers pipeline with a ``UNet2DConditionModel``: SD 1, SD 2 or SDXL; text-to-image, image-to-image,
            inpainting, ControlNet. Afterwards it is as it was, also after an exception.
        plan: one plan for every prompt of a call, or one for each.
        mask: (H, W) or (pictures, H, W), in [0, 1] at any resolution: only where it is 1 does the picture pull at its
            words. Inpainting models with nine channels bring their own.
        record_energies: keep the energies of every layer.
        record_maps: keep the attention maps.
        emphasis: read ``(word:1.2)``, ``[word]`` and ``BREAK`` in prompts, and let prompts pass 75
            tokens, as the WebUI does.
        drift: keep the editorial contexts' changes from one evaluation to the next, as the published code does.

    Raises:
        HostError: the pipeline has no such UNet, or the number of plans does not fit a call's prompts.
        WordError: a boost names a word that its prompt does not hold.
    """
    run = Run()
    plans = (plan,) if isinstance(plan, Plan) else tuple(plan)
    recording = record_energies or record_maps
    if not any(each.active for each in plans) and not recording:
        yield run
        return
    unet = _unet(pipe)
    conductor = _Conductor(pipe, unet, plans, run, mask, drift, (record_energies, record_maps))
    with ExitStack() as stack:
        stack.enter_context(replaced(pipe, "encode_prompt", _encode(pipe, conductor.announce, plans, emphasis, run)))
        stack.enter_context(announced(pipe.unet, conductor.before))
        stack.enter_context(installed(unet, lambda: conductor.cascade, run.tell))
        if recording and is_compiled(pipe.unet):
            # What is recorded leaves the graph in every layer: compiling the pieces would take longer than they save.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield run


@contextmanager
def encoded(pipe: Any) -> Iterator[Run]:
    """Let a pipeline read its prompts as the WebUI does (emphasis, BREAK, any length), its attention untouched."""
    run = Run()
    with replaced(pipe, "encode_prompt", _encode(pipe, lambda announcement: None, (Plan(),), True, run)):
        yield run


class _Conductor:
    """Turns the pipeline's calls of the UNet into evaluations of a cascade."""

    def __init__(
        self,
        pipe: Any,
        unet: UNet2DConditionModel,
        plans: Sequence[Plan],
        run: Run,
        mask: Tensor | None,
        drift: bool,
        recorded: tuple[bool, bool],
    ) -> None:
        self.cascade: Cascade | None = None
        self._pipe, self._plans, self._run, self._drift, self._recorded = pipe, plans, run, drift, recorded
        self._layers = len(cross_attention_layers(unet))
        # Where the UNet makes its layers' context of what it is given, that context is not known beforehand.
        known = getattr(unet, "encoder_hid_proj", None) is None
        self._compiled = unet if is_compiled(pipe.unet) and known else None
        self._mask = mask
        self._announced: Announcement | None = None
        self._pass: Cascade | None = None

    def announce(self, announcement: Announcement) -> None:
        """A pipeline call has begun."""
        self._announced, self._pass = announcement, None

    def before(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """The UNet is about to run with these arguments."""
        sample = args[0] if args else keywords["sample"]
        self.cascade = None
        if self._announced is None:
            self._run.tell("EBCA was not applied: the UNet was called outside a call of the pipeline.")
            return
        rows = _rows(len(self._announced.pictures), self._announced.guided, sample.shape[0])
        if rows is None:
            pictures = len(self._announced.pictures)
            self._run.tell(f"EBCA was not applied: the UNet got {sample.shape[0]} rows for {pictures} pictures.")
            return
        if self._pass is None:
            self._pass = self._start(self._announced, sample)
        size = (sample.shape[-2], sample.shape[-1])
        self.cascade = self._pass
        if self._compiled is None:
            self.cascade.begin(rows, size)
            return
        given = args[2] if len(args) > 2 else keywords["encoder_hidden_states"]
        self.cascade.begin(rows, size, given=given)
        scale = (keywords.get("cross_attention_kwargs") or {}).get("scale")
        # A layer that cannot be prepared tells of it when it runs.
        with suppress(NotLinearError), _lora_scaled((self._compiled,), scale):
            prepare(own_projections(self._compiled), self.cascade, given)

    def _start(self, announced: Announcement, sample: Tensor) -> Cascade:
        if any(self._recorded):
            self._run.recorder = Recorder(*self._recorded)
        steps = executed_steps(self._pipe)
        masks = self._masks(len(announced.pictures), sample)
        pictures = [
            Picture(each.edits, each.boosts, mask) for each, mask in zip(announced.pictures, masks, strict=True)
        ]
        tables = {plan: Timetable.of(plan, steps) for plan in announced.plans}
        timetables = [tables[plan] for plan in announced.plans]
        return Cascade(pictures, timetables, layers=self._layers, drift=self._drift, recorder=self._run.recorder)

    def _masks(self, pictures: int, sample: Tensor) -> list[Tensor | None]:
        if self._mask is not None:
            masks = self._mask.expand(pictures, -1, -1) if self._mask.ndim == 2 else self._mask
            if masks.ndim != 3 or len(masks) != pictures:
                shape = tuple(self._mask.shape)
                raise HostError(
                    f"mask has shape {shape}: it should be (H, W), or (pictures, H, W) with {pictures} pictures"
                )
            return list(masks)
        if sample.shape[1] == 9:
            return list(sample[-pictures:, 4])
        return [None] * pictures


def executed_steps(pipe: Any) -> int:
    """Number of sampling steps of the pass that a pipeline is in: what a plan's fractions are fractions of.

    Image-to-image runs only the last part of the schedule. PNDM evaluates one step twice; that is no step of its own.
    """
    total = getattr(pipe, "_num_timesteps", None) or len(pipe.scheduler.timesteps)
    asked = pipe.scheduler.num_inference_steps
    repeated = len(pipe.scheduler.timesteps) - asked
    return max(1, total - (repeated if repeated == 1 else 0))


def _rows(pictures: int, guided: bool, batch: int) -> Rows | None:
    """diffusers' order of the batch: unconditional rows first; perturbed guidance repeats the conditional ones."""
    if batch % pictures or batch // pictures > 3:
        return None
    sides = batch // pictures
    conditional = [True] * sides
    conditional[0] = not (guided and sides > 1)
    return Rows(tuple(range(pictures)) * sides, tuple(side for side in conditional for _ in range(pictures)))


def _unet(pipe: Any) -> UNet2DConditionModel:
    unet = getattr(pipe, "unet", None)
    unet = getattr(unet, "_orig_mod", unet)
    if not isinstance(unet, UNet2DConditionModel) or not hasattr(pipe, "encode_prompt"):
        kind = type(pipe).__name__
        raise HostError(
            f"{kind} cannot be served: it should be a Stable Diffusion 1, 2 or XL pipeline with a UNet2DConditionModel"
        )
    return unet


def _encode(
    pipe: Any, announce: Callable[[Announcement], None], plans: Sequence[Plan], emphasis: bool, run: Run
) -> Callable[..., Any]:
    """``pipe.encode_prompt`` that reads prompts the WebUI's way and announces the call's batch."""
    original = pipe.encode_prompt
    signature = inspect.signature(original)

    def encode_prompt(*args: Any, **keywords: Any) -> Any:
        bound = signature.bind(*args, **keywords)
        bound.apply_defaults()
        asked = bound.arguments
        guided = bool(asked["do_classifier_free_guidance"])
        encoder = PromptEncoder(pipe, asked.get("clip_skip"))
        with _lora_scaled(_text_encoders(pipe), asked.get("lora_scale")):
            tokenised = _tokenised(asked, encoder)
            if emphasis and tokenised is not None and _same_prompts(asked):
                asked.update(_embeddings(pipe, encoder, asked, guided))
            result = original(*bound.args, **bound.kwargs)
            pictures = result[0].shape[0]
            own = _for_each(plans, pictures, asked["num_images_per_prompt"])
            run.tokenised = (
                tuple(tokenised[i * len(tokenised) // pictures] for i in range(pictures)) if tokenised else ()
            )
            contexts = {edit.text: encoder.encode(edit.text).context for each in own for edit in each.edits}
        announce(Announcement(_pictures(own, contexts, run.tokenised, encoder), own, guided))
        return result

    return encode_prompt


def _tokenised(asked: dict[str, Any], encoder: PromptEncoder) -> tuple[TokenisedPrompt, ...] | None:
    """The call's prompts in tokens, or None if it brings embeddings instead of words."""
    if asked["prompt"] is None or asked.get("prompt_embeds") is not None:
        return None
    return tuple(encoder.tokenise(prompt) for prompt in _listed(asked["prompt"]))


def _same_prompts(asked: dict[str, Any]) -> bool:
    """Whether both encoders of SDXL read the same words, which is all that the WebUI's way knows."""
    return asked.get("prompt_2") in (None, asked["prompt"]) and asked.get("negative_prompt_2") in (
        None,
        asked["negative_prompt"],
    )


def _embeddings(pipe: Any, encoder: PromptEncoder, asked: dict[str, Any], guided: bool) -> dict[str, Any]:
    """The arguments that hand the WebUI-style embeddings to the pipeline in place of the words."""
    prompts = _listed(asked["prompt"])
    negative = asked["negative_prompt"]
    zeros = guided and negative is None and bool(getattr(pipe.config, "force_zeros_for_empty_prompt", False))
    negatives = _listed(negative or "") if guided and not zeros else []
    if len(negatives) == 1:
        negatives = negatives * len(prompts)
    if negatives and len(negatives) != len(prompts):
        raise HostError(
            f"negative_prompt has {len(negatives)} entries: it should have one, or one for each of the "
            f"{len(prompts)} prompts"
        )
    batch = encode_batch(encoder, prompts, negatives)
    given: dict[str, Any] = {"prompt": None, "prompt_embeds": batch.contexts}
    if guided and asked.get("negative_prompt_embeds") is None:
        given["negative_prompt"] = None
        given["negative_prompt_embeds"] = torch.zeros_like(batch.contexts) if zeros else batch.negative_contexts
    if "pooled_prompt_embeds" in asked:
        given["prompt_2"] = given["negative_prompt_2"] = None
        given["pooled_prompt_embeds"] = batch.pooled
        if guided and asked.get("negative_pooled_prompt_embeds") is None and batch.pooled is not None:
            given["negative_pooled_prompt_embeds"] = torch.zeros_like(batch.pooled) if zeros else batch.negative_pooled
    return given


def _for_each(plans: Sequence[Plan], pictures: int, copies: int) -> tuple[Plan, ...]:
    """The plan of each picture of a batch in which every prompt's pictures stand together."""
    if len(plans) == 1:
        return tuple(plans) * pictures
    if len(plans) * copies != pictures:
        raise HostError(
            f"{len(plans)} plans were given for {pictures // copies} prompts: give one, or one for each prompt"
        )
    return tuple(plan for plan in plans for _ in range(copies))


def _pictures(
    plans: Sequence[Plan], contexts: dict[str, Tensor], tokenised: Sequence[TokenisedPrompt], encoder: PromptEncoder
) -> tuple[Picture, ...]:
    if any(plan.boosts for plan in plans) and not tokenised:
        raise HostError("boosts need the prompt in words: give `prompt`, not `prompt_embeds`")
    return tuple(
        Picture(
            tuple(contexts[edit.text] for edit in plan.edits),
            boost_weights(tokenised[index], plan.boosts, encoder.tokenizer) if plan.boosts else None,
        )
        for index, plan in enumerate(plans)
    )


def _listed(prompt: str | Sequence[str]) -> list[str]:
    return [prompt] if isinstance(prompt, str) else list(prompt)


def _text_encoders(pipe: Any) -> list[nn.Module]:
    encoders = (getattr(pipe, name, None) for name in ("text_encoder", "text_encoder_2"))
    return [encoder for encoder in encoders if encoder is not None]


@contextmanager
def _lora_scaled(models: Sequence[nn.Module], scale: float | None) -> Iterator[None]:
    """Models with their LoRA at the scale of the call, as diffusers does it itself."""
    if scale is None or not is_peft_available():
        yield
        return
    for model in models:
        scale_lora_layers(model, scale)
    try:
        yield
    finally:
        for model in models:
            unscale_lora_layers(model, scale)
