"""What a diffusers pipeline call says of its batch, heard where the call encodes its prompts, before it samples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from torch import Tensor, nn

from lib_ebca.attention.concepts import concept_factors
from lib_ebca.attention.picture import Picture, TokenFactors
from lib_ebca.attention.subjects import Subjects, subjects_of
from lib_ebca.hosts.carried import Carried
from lib_ebca.hosts.following import followings
from lib_ebca.hosts.lora import lora_scaled
from lib_ebca.hosts.prompts import PromptEncoder, encode_apart, encode_batch
from lib_ebca.hosts.run import HostError, Run
from lib_ebca.language.plan import Plan
from lib_ebca.language.words import TokenisedPrompt, WordError, boost_weights, tokenise
from lib_ebca.methods.head_vectors import HeadVectors

_ASKED = {"prompt", "negative_prompt", "num_images_per_prompt", "do_classifier_free_guidance"}
_CLIP = ("clip", "clip_text_model")


@dataclass(frozen=True)
class Announcement:
    """What a pipeline call says of its batch before it samples."""

    pictures: tuple[Picture, ...]
    plans: tuple[Plan, ...]
    carried: Carried
    subjects: tuple[Subjects, ...] = ()


def announcing(
    pipe: Any,
    announce: Callable[[Announcement], None],
    plans: Sequence[Plan],
    emphasis: bool,
    run: Run,
    vectors: HeadVectors | None = None,
    as_webui: bool = False,
    leaving_plain: bool = False,
) -> Callable[..., Any]:
    """``pipe.encode_prompt`` that reads prompts the WebUI's way and announces the call's batch.

    ``as_webui``: clip skip and padding are the WebUI's too, not diffusers'. ``leaving_plain``: prompts that both ways
    read alike stay the pipeline's own, to the bit also in a batch.
    """
    name = encoding_of(pipe)
    original = getattr(pipe, name)
    signature = inspect.signature(original)

    def encode_prompt(*args: Any, **keywords: Any) -> Any:
        bound = signature.bind(*args, **keywords)
        bound.apply_defaults()
        asked = bound.arguments
        guided = bool(asked["do_classifier_free_guidance"])
        encoder = PromptEncoder(pipe, asked.get("clip_skip"), as_webui, literal=not emphasis)
        copies_of_sides = (1, 1)
        with lora_scaled(_text_encoders(pipe), asked.get("lora_scale")):
            tokenised = _tokenised(asked, encoder)
            seconds = _seconds(asked, encoder) if tokenised else None
            if emphasis and tokenised is not None and not (leaving_plain and _all_plain(asked, encoder)):
                alike = seconds is None and not asked.get("negative_prompt_2")
                apart = (
                    as_webui and alike and _may_stand_apart(tokenised, asked["negative_prompt"], encoder, plans, run)
                )
                given, copies_of_sides = _embeddings(pipe, encoder, asked, guided, apart)
                asked.update(given)
            result = original(*bound.args, **bound.kwargs)
            contexts, negatives = _sides(name, result, guided)
            pictures = contexts.shape[0]
            copies = asked["num_images_per_prompt"]
            own = _for_each(plans, pictures, copies)
            run.tokenised = _spread(tokenised, pictures)
            edits = {edit.text: encoder.encode(edit.text).context for each in own for edit in each.edits}
        also = _spread(seconds, pictures)
        made = _pictures(own, edits, run.tokenised, also, encoder, vectors)
        follows = followings(own, copies, run.tokenised, contexts.shape[1], encoder.tokenizer)
        made = tuple(replace(each, following=follow) for each, follow in zip(made, follows, strict=True))
        carried = Carried(contexts, negatives, copies=copies_of_sides)
        announce(
            Announcement(made, own, carried, _subjects(pipe, own, run.tokenised, also, encoder.tokenizer, vectors))
        )
        return result

    return encode_prompt


def encoding_of(pipe: Any) -> str:
    """Name of the method in which a pipeline encodes its prompts.

    Raises:
        HostError: there is none that says which prompt is which, or the text encoders are not CLIP's.
    """
    name, kind = "encode_prompt", type(pipe).__name__
    if not hasattr(pipe, name) and isinstance(pipe, StableDiffusionInstructPix2PixPipeline):
        name = "_encode_prompt"
    if not hasattr(pipe, name):
        raise HostError(f"{kind} cannot be served: it has no encode_prompt, where EBCA would learn its prompts' rows")
    missing = _ASKED - set(inspect.signature(getattr(pipe, name)).parameters)
    if missing:
        raise HostError(
            f"{kind} cannot be served: its {name} takes no {' and no '.join(sorted(missing))}, so that nothing says "
            "which rows are the prompt's"
        )
    for encoder in _text_encoders(pipe):
        if getattr(encoder.config, "model_type", None) not in _CLIP:
            raise HostError(
                f"{kind} cannot be served: its text encoder is a {type(encoder).__name__}, and EBCA reads CLIP's words"
            )
    return name


def _sides(name: str, result: Any, guided: bool) -> tuple[Tensor, Tensor | None]:
    """The prompts' and the negative prompts' embeddings of what a pipeline's encoding returned."""
    if name == "encode_prompt":
        return result[0], result[1] if guided else None
    # Prompts, negative prompts, and the negative prompts again.
    own, negatives = result.chunk(3)[:2] if guided else (result, None)
    return own, negatives


def _tokenised(asked: dict[str, Any], encoder: PromptEncoder) -> tuple[TokenisedPrompt, ...] | None:
    """The call's prompts in tokens, or None if it brings embeddings instead of words."""
    if asked["prompt"] is None or asked.get("prompt_embeds") is not None:
        return None
    return tuple(encoder.tokenise(prompt) for prompt in _listed(asked["prompt"]))


def _seconds(asked: dict[str, Any], encoder: PromptEncoder) -> tuple[TokenisedPrompt, ...] | None:
    """What the second encoder of SDXL reads, or None if it reads the same."""
    second = asked.get("prompt_2")
    return tuple(encoder.tokenise(prompt) for prompt in _listed(second)) if second else None


def _spread(tokenised: Sequence[TokenisedPrompt] | None, pictures: int) -> tuple[TokenisedPrompt, ...]:
    """One for each picture, of a batch in which every prompt's pictures stand together."""
    return tuple(tokenised[i * len(tokenised) // pictures] for i in range(pictures)) if tokenised else ()


def _all_plain(asked: dict[str, Any], encoder: PromptEncoder) -> bool:
    """Whether every prompt of a call is read alike with and without emphasis."""
    names = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2")
    texts = [text for name in names if asked.get(name) for text in _listed(asked[name])]
    return all(encoder.tokenise(text) == tokenise(encoder.tokenizer, text, literal=True) for text in texts)


def _may_stand_apart(
    tokenised: Sequence[TokenisedPrompt], negative: Any, encoder: PromptEncoder, plans: Sequence[Plan], run: Run
) -> bool:
    """Whether prompts and negative prompts can keep their own lengths.

    A prompt whose words are looked for, or follow another's, cannot be repeated for it.
    """
    own = max(len(each.lengths) for each in tokenised)
    theirs = max(len(encoder.tokenise(text).lengths) for text in _listed(negative or ""))
    if own % theirs == 0 or not any(plan.follow or any(part.active for part in plan.excite) for plan in plans):
        return True
    run.tell(
        f"The negative prompt takes {theirs} chunks and the prompt {own}: they were padded to one length, "
        "which the WebUI does only with its setting for that."
    )
    return False


def _embeddings(
    pipe: Any, encoder: PromptEncoder, asked: dict[str, Any], guided: bool, apart: bool = False
) -> tuple[dict[str, Any], tuple[int, int]]:
    """The arguments that hand the WebUI-style embeddings to the pipeline in place of the words.

    Beside them how often a prompt's and a negative prompt's encoding stands in its context.
    """
    prompts = _listed(asked["prompt"])
    negative = asked["negative_prompt"]
    zeros = guided and negative is None and bool(getattr(pipe.config, "force_zeros_for_empty_prompt", False))
    negatives = _as_many(_listed(negative or ""), len(prompts), "negative_prompt") if guided and not zeros else []
    second, negative_second = asked.get("prompt_2"), asked.get("negative_prompt_2")
    seconds = _as_many(_listed(second), len(prompts), "prompt_2") if second else None
    negative_seconds = None
    if negatives and negative_second:
        negative_seconds = _as_many(_listed(negative_second), len(prompts), "negative_prompt_2")
    if apart and negatives:
        batch = encode_apart(encoder, prompts, negatives)
    else:
        batch = encode_batch(encoder, prompts, negatives, seconds=seconds, negative_seconds=negative_seconds)
    given: dict[str, Any] = {"prompt": None, "prompt_embeds": batch.contexts}
    if guided and asked.get("negative_prompt_embeds") is None:
        given["negative_prompt"] = None
        given["negative_prompt_embeds"] = torch.zeros_like(batch.contexts) if zeros else batch.negative_contexts
    if "pooled_prompt_embeds" in asked:
        given["prompt_2"] = given["negative_prompt_2"] = None
        given["pooled_prompt_embeds"] = batch.pooled
        if guided and asked.get("negative_pooled_prompt_embeds") is None and batch.pooled is not None:
            given["negative_pooled_prompt_embeds"] = torch.zeros_like(batch.pooled) if zeros else batch.negative_pooled
    return given, batch.copies


def _as_many(prompts: list[str], count: int, name: str) -> list[str]:
    if len(prompts) == 1:
        return prompts * count
    if len(prompts) != count:
        raise HostError(
            f"{name} has {len(prompts)} entries: it should have one, or one for each of the {count} prompts"
        )
    return prompts


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
    plans: Sequence[Plan],
    contexts: dict[str, Tensor],
    tokenised: Sequence[TokenisedPrompt],
    seconds: Sequence[TokenisedPrompt],
    encoder: PromptEncoder,
    vectors: HeadVectors | None,
) -> tuple[Picture, ...]:
    if any(plan.boosts or plan.concepts or plan.excite for plan in plans) and not tokenised:
        raise HostError("boosts, concepts and subjects need the prompt in words: give `prompt`, not `prompt_embeds`")

    def picture(plan: Plan, index: int) -> Picture:
        second = seconds[index] if seconds else None
        boosts: tuple[float, ...] | None = None
        factors: tuple[TokenFactors, ...] = ()
        if plan.boosts:
            boosts = boost_weights(tokenised[index], plan.boosts, encoder.tokenizer, second)
        if vectors is not None and plan.concepts:
            factors = concept_factors(plan.concepts, vectors, tokenised[index], encoder.tokenizer, second)
        return Picture(tuple(contexts[edit.text] for edit in plan.edits), boosts, factors=factors)

    return tuple(picture(plan, index) for index, plan in enumerate(plans))


def _subjects(
    pipe: Any,
    plans: Sequence[Plan],
    tokenised: Sequence[TokenisedPrompt],
    seconds: Sequence[TokenisedPrompt],
    tokenizer: Any,
    vectors: HeadVectors | None,
) -> tuple[Subjects, ...]:
    # The two encoders of SDXL fill prompts up differently.
    one_encoder = getattr(pipe, "tokenizer_2", None) is None
    padded_with_end = one_encoder and tokenizer is not None and tokenizer.pad_token_id == tokenizer.eos_token_id

    def subjects(plan: Plan, index: int) -> Subjects:
        own = tokenised[index] if tokenised else None
        try:
            return subjects_of(plan.excite, own, tokenizer, padded_with_end, vectors)
        except WordError:
            if not seconds:
                raise
            return subjects_of(plan.excite, seconds[index], tokenizer, padded_with_end, vectors)

    return tuple(subjects(plan, index) for index, plan in enumerate(plans))


def _listed(prompt: str | Sequence[str]) -> list[str]:
    return [prompt] if isinstance(prompt, str) else list(prompt)


def _text_encoders(pipe: Any) -> list[nn.Module]:
    encoders = (getattr(pipe, name, None) for name in ("text_encoder", "text_encoder_2"))
    return [encoder for encoder in encoders if encoder is not None]
