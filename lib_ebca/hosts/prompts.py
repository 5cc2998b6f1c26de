"""Prompts to contexts for diffusers pipelines: emphasis, BREAK and any length, with the pipeline's own encoders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lib_ebca.language import words
from lib_ebca.language.words import Token, TokenisedPrompt


@dataclass(frozen=True)
class EncodedPrompt:
    """`context` is (T, D), with T a multiple of the chunk length; `pooled` (P,), for SDXL alone."""

    context: Tensor
    pooled: Tensor | None
    tokenised: TokenisedPrompt


@dataclass(frozen=True)
class EncodedBatch:
    """Prompts and negative prompts padded to one length T: contexts (B, T, D), pooled (B, P) for SDXL alone.

    The negative tensors are None where no negative prompts were given. `copies`: how often every prompt's context, and
    every negative one's, stands in its row.
    """

    contexts: Tensor
    pooled: Tensor | None
    negative_contexts: Tensor | None
    negative_pooled: Tensor | None
    tokenised: tuple[TokenisedPrompt, ...]
    copies: tuple[int, int] = (1, 1)


class PromptEncoder:
    """The text encoders of one pipeline, of the SD 1, SD 2, SDXL or SDXL refiner kind.

    A prompt without emphasis that fits into one chunk gets the very numbers of the pipeline's own `encode_prompt`.
    What was encoded is kept, so an encoder should not outlive a change of the pipeline's weights.

    Args:
        pipe: has tokenizer and text_encoder, or tokenizer_2 and text_encoder_2, or both.
        clip_skip: layers to skip from the end, as diffusers counts them.
        as_webui: skip them for negative prompts too, which diffusers does not.
        literal: read prompts as diffusers does: no emphasis, and one chunk.
    """

    def __init__(self, pipe: Any, clip_skip: int | None = None, as_webui: bool = False, literal: bool = False) -> None:
        pairs: list[tuple[Any, Any]] = [
            (getattr(pipe, f"tokenizer{suffix}", None), getattr(pipe, f"text_encoder{suffix}", None))
            for suffix in ("", "_2")
        ]
        self._pipe = pipe
        self._clip_skip, self._as_webui, self._literal = clip_skip, as_webui, literal
        self._penultimate = pairs[1][1] is not None
        self._pairs = tuple(pair for pair in pairs if pair[1] is not None)
        self._encoded: dict[tuple[str, str | None, int, bool], EncodedPrompt] = {}
        if not self._pairs:
            raise ValueError(f"{type(pipe).__name__} has neither text_encoder nor text_encoder_2: prompts need one")

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that rows are counted with; a second one of the pipeline differs in its padding alone."""
        return self._pairs[0][0]

    def tokenise(self, prompt: str) -> TokenisedPrompt:
        """The tokens of `prompt`, unpadded."""
        return words.tokenise(self.tokenizer, prompt, self._literal)

    def chunks(self, prompt: str, second: str | None = None) -> int:
        """How many chunks a prompt takes, and what the second encoder reads in its place."""
        return max(len(self.tokenise(text).lengths) for text in (prompt, second) if text is not None)

    def encode(self, prompt: str, chunks: int = 1, negative: bool = False, second: str | None = None) -> EncodedPrompt:
        """The context of `prompt`, padded with the encoding of "" to at least `chunks` chunks.

        The second of two encoders reads `second`, unless that is None. Each chunk is encoded on its own. Emphasis
        multiplies its rows and then restores the mean of the chunk's context. Pooled is that of the first chunk.
        `tokenised` covers the padding too.
        """
        key = (prompt, second, chunks, negative)
        if key not in self._encoded:
            self._encoded[key] = self._padded(prompt, chunks, negative, second)
        return self._encoded[key]

    def _padded(self, prompt: str, chunks: int, negative: bool, second: str | None) -> EncodedPrompt:
        needed = self.chunks(prompt, second)
        missing = chunks - needed
        if missing == 0:
            return self._encode([prompt, prompt if second is None else second], needed, negative)
        if missing < 0:
            return self.encode(prompt, needed, negative, second)
        own, empty = self.encode(prompt, 1, negative, second), self.encode("", 1, negative)
        padded = TokenisedPrompt(
            prompt,
            own.tokenised.tokens + empty.tokenised.tokens * missing,
            own.tokenised.lengths + empty.tokenised.lengths * missing,
        )
        return EncodedPrompt(torch.cat([own.context, *[empty.context] * missing]), own.pooled, padded)

    @torch.no_grad()
    def _encode(self, texts: Sequence[str], chunks: int, negative: bool) -> EncodedPrompt:
        contexts: list[Tensor] = []
        pooled: Tensor | None = None
        read = [
            self._filled(words.tokenise(tokenizer, text, self._literal), tokenizer, chunks)
            for (tokenizer, _), text in zip(self._pairs, texts, strict=False)
        ]
        for own, (_, text_encoder) in zip(read, self._pairs, strict=True):
            results = [
                self._encode_chunk(text_encoder, chunk, length, negative)
                for chunk, length in zip(own.chunks, own.lengths, strict=True)
            ]
            contexts.append(torch.cat([context for context, _ in results]))
            if pooled is None:
                pooled = results[0][1]
        dtype = self._pairs[-1][1].dtype
        context = torch.cat([context.to(contexts[-1].device) for context in contexts], dim=-1).to(dtype)
        return EncodedPrompt(context, pooled, read[0])

    def _filled(self, tokenised: TokenisedPrompt, tokenizer: Any, chunks: int) -> TokenisedPrompt:
        missing = chunks - len(tokenised.lengths)
        empty = words.tokenise(tokenizer, "", self._literal)
        tokens = tokenised.tokens + empty.tokens * missing
        return TokenisedPrompt(tokenised.text, tokens, tokenised.lengths + empty.lengths * missing)

    def _encode_chunk(
        self, text_encoder: Any, chunk: tuple[Token, ...], length: int, negative: bool
    ) -> tuple[Tensor, Tensor | None]:
        ids = torch.tensor([[token.id for token in chunk]], device=self._device(text_encoder))
        skip = None if negative and not self._as_webui else self._clip_skip
        if self._penultimate:
            output = text_encoder(ids, output_hidden_states=True)
            hidden = output.hidden_states[-((skip or 0) + 2)]
        else:
            mask = None
            if getattr(text_encoder.config, "use_attention_mask", False):
                mask = (torch.arange(len(chunk), device=ids.device) < length + 2).long().unsqueeze(0)
            output = text_encoder(ids, attention_mask=mask, output_hidden_states=skip is not None)
            hidden = output[0]
            if skip is not None:
                # transformers 5 keeps the layers of CLIPTextModel in the model itself.
                layers = getattr(text_encoder, "text_model", text_encoder)
                hidden = layers.final_layer_norm(output.hidden_states[-(skip + 1)])
        pooled = output[0][0] if self._penultimate and output[0].ndim == 2 else None
        return _weighted(hidden[0], [token.weight for token in chunk]), pooled

    def _device(self, text_encoder: Any) -> torch.device:
        device = torch.device(text_encoder.device)
        # Weights that are brought in layer by layer leave the module on "meta" between calls.
        return torch.device(self._pipe._execution_device) if device.type == "meta" else device


def encode_batch(
    encoder: PromptEncoder,
    prompts: Sequence[str],
    negatives: Sequence[str] | None,
    negative: bool = False,
    seconds: Sequence[str | None] | None = None,
    negative_seconds: Sequence[str | None] | None = None,
) -> EncodedBatch:
    """All of `prompts` and `negatives` (none, or as many), padded to the chunks of the longest of them.

    Every prompt is encoded on its own: its context does not depend on its neighbours. `negative`: `prompts` are the
    negative ones. `seconds` and `negative_seconds` are what the second encoder reads instead. Raises ValueError if the
    numbers of prompts and negative prompts differ.
    """
    if not prompts:
        raise ValueError("prompts is empty: there should be at least one")
    if negatives and len(negatives) != len(prompts):
        raise ValueError(f"negatives has {len(negatives)} entries: it should have {len(prompts)}, as prompts does")
    tokenised = tuple(encoder.tokenise(prompt) for prompt in prompts)
    pairs: list[tuple[str, str | None]] = list(zip(prompts, seconds or [None] * len(prompts), strict=True))
    against: list[tuple[str, str | None]] = []
    if negatives:
        against = list(zip(negatives, negative_seconds or [None] * len(negatives), strict=True))
    chunks = max(encoder.chunks(*pair) for pair in (*pairs, *against))
    contexts, pooled = _stacked([encoder.encode(text, chunks, negative, second) for text, second in pairs])
    if not negatives:
        return EncodedBatch(contexts, pooled, None, None, tokenised)
    negative_contexts, negative_pooled = _stacked(
        [encoder.encode(text, chunks, True, second) for text, second in against]
    )
    return EncodedBatch(contexts, pooled, negative_contexts, negative_pooled, tokenised)


def encode_apart(encoder: PromptEncoder, prompts: Sequence[str], negatives: Sequence[str]) -> EncodedBatch:
    """Like :func:`encode_batch`, but neither side is padded for the other's sake: the WebUI calls the network for each.

    Where their lengths differ, the contexts are repeated until they are equal. Attention to a context that stands there
    twice is attention to it once, so the network answers as it would to the context alone.
    """
    own, theirs = encode_batch(encoder, prompts, None), encode_batch(encoder, negatives, None, negative=True)
    contexts, negative_contexts = own.contexts, theirs.contexts
    length = math.lcm(contexts.shape[1], negative_contexts.shape[1])
    copies = length // contexts.shape[1], length // negative_contexts.shape[1]
    return EncodedBatch(
        contexts.repeat(1, copies[0], 1),
        own.pooled,
        negative_contexts.repeat(1, copies[1], 1),
        theirs.pooled,
        own.tokenised,
        copies,
    )


def _stacked(encoded: Sequence[EncodedPrompt]) -> tuple[Tensor, Tensor | None]:
    pooled = [each.pooled for each in encoded if each.pooled is not None]
    return torch.stack([each.context for each in encoded]), torch.stack(pooled) if pooled else None


def _weighted(context: Tensor, weights: Sequence[float]) -> Tensor:
    """`context` (T, D) with its rows weighted and its mean restored; untouched where every weight is 1."""
    if all(weight == 1.0 for weight in weights):
        return context
    exact = context.to(torch.promote_types(context.dtype, torch.float32))
    weighted = exact * torch.tensor(weights, dtype=exact.dtype, device=exact.device).unsqueeze(1)
    ratio = exact.mean() / weighted.mean()
    # A context whose mean is nothing but rounding says nothing about its scale.
    usable = ratio.isfinite() & (weighted.mean().abs() > 1e-6 * weighted.abs().mean())
    return (weighted * torch.where(usable, ratio, torch.ones_like(ratio))).to(context.dtype)
