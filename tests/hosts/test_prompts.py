from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from packaging.version import Version
from torch import Tensor

from lib_ebca.hosts.prompts import PromptEncoder, encode_batch
from tests import tiny_pipe, tiny_text

# Older text encoders make their causal mask in float32, where the least float64 does not fit.
in_float64 = pytest.mark.skipif(
    Version(transformers.__version__) < Version("5"), reason="transformers before 5 cannot encode in float64"
)
PLAIN = ["", "a cat", "A cat's cats, née: 20 dogs!", " ".join(["dog"] * 75)]
LONG = ", ".join(["a castle"] * 40)


def sd1(pad: str = "<|endoftext|>", **extra: Any) -> Any:
    clip = tiny_text.tokenizer(pad)
    return StableDiffusionPipeline(
        vae=tiny_pipe.vae(),
        text_encoder=tiny_text.text_encoder(clip, 0, **extra),
        tokenizer=clip,
        unet=tiny_pipe.unet(),
        scheduler=tiny_pipe.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(refiner: bool = False) -> Any:
    clip, clip_2 = tiny_text.tokenizer(), tiny_text.tokenizer("!")
    return StableDiffusionXLPipeline(
        vae=tiny_pipe.vae(),
        text_encoder=None if refiner else tiny_text.text_encoder(clip, 0),
        text_encoder_2=tiny_text.text_encoder(clip_2, 1, projection=True, hidden=48),
        tokenizer=None if refiner else clip,
        tokenizer_2=clip_2,
        unet=tiny_pipe.unet(),
        scheduler=tiny_pipe.scheduler(),
    )


def own(pipe: Any, prompt: str, negative: str | None = None, **extra: Any) -> tuple[Tensor, ...]:
    with torch.no_grad():
        return pipe.encode_prompt(
            prompt,
            device=torch.device("cpu"),
            num_images_per_prompt=1,
            do_classifier_free_guidance=negative is not None,
            negative_prompt=negative,
            **extra,
        )


@pytest.mark.parametrize("prompt", PLAIN)
@pytest.mark.parametrize(
    "make",
    [
        sd1,
        lambda: sd1("!", hidden=64),
        lambda: sd1("!", use_attention_mask=True),
        lambda: sd1().to(torch.bfloat16),
        pytest.param(lambda: sd1().to(torch.float64), marks=in_float64),
    ],
    ids=["sd1", "sd2", "mask", "bf16", "fp64"],
)
def test_a_plain_prompt_is_the_pipelines_own_to_the_bit(make: Any, prompt: str) -> None:
    pipe = make()
    encoded = PromptEncoder(pipe).encode(prompt)
    expected = own(pipe, prompt)[0]
    assert encoded.context.dtype == pipe.text_encoder.dtype
    assert torch.equal(encoded.context, expected[0])
    assert encoded.pooled is None and not encoded.context.requires_grad


def test_the_attention_mask_changes_something() -> None:
    masked, free = sd1("!", use_attention_mask=True), sd1("!")
    one, other = (PromptEncoder(pipe).encode("a cat").context for pipe in (masked, free))
    assert torch.equal(one[:4], other[:4]) and not torch.equal(one[6:], other[6:])


@pytest.mark.parametrize("prompt", PLAIN)
@pytest.mark.parametrize("refiner", [False, True])
@pytest.mark.parametrize("clip_skip", [None, 0, 1])
def test_sdxl_is_the_pipelines_own_to_the_bit(prompt: str, refiner: bool, clip_skip: int | None) -> None:
    pipe = sdxl(refiner)
    encoder = PromptEncoder(pipe, clip_skip)
    context, negative_context, pooled, negative_pooled = own(pipe, prompt, "a dog", clip_skip=clip_skip)
    encoded, negative = encoder.encode(prompt), encoder.encode("a dog", negative=True)
    assert encoded.context.shape == (77, 48 if refiner else 80)
    assert torch.equal(encoded.context, context[0])
    assert encoded.pooled is not None and torch.equal(encoded.pooled, pooled[0])
    assert torch.equal(negative.context, negative_context[0])
    assert negative.pooled is not None and torch.equal(negative.pooled, negative_pooled[0])


@pytest.mark.parametrize("clip_skip", [None, 0, 1, 2])
def test_clip_skip_counts_as_diffusers_does(clip_skip: int | None) -> None:
    pipe = sd1()
    encoder = PromptEncoder(pipe, clip_skip)
    ours = encoder.encode("a cat").context, encoder.encode("a dog", negative=True).context
    if not hasattr(pipe.text_encoder, "text_model"):
        # diffusers looks for the last norm where transformers 4 keeps it. Past nn.Module, or it would be a sub-module.
        layers = SimpleNamespace(final_layer_norm=pipe.text_encoder.final_layer_norm)
        object.__setattr__(pipe.text_encoder, "text_model", layers)
    theirs = own(pipe, "a cat", "a dog", clip_skip=clip_skip)
    assert torch.equal(ours[0], theirs[0][0])
    assert torch.equal(ours[1], theirs[1][0])
    # diffusers skips no layer for the negative prompt.
    assert (clip_skip in (None, 0)) == torch.equal(encoder.encode("a dog").context, ours[1])


def by_hand(context: Tensor, weights: dict[int, float]) -> Tensor:
    weighted = context.clone()
    for row, weight in weights.items():
        weighted[row] = context[row] * weight
    return weighted * (context.mean() / weighted.mean())


@in_float64
def test_emphasis_weighs_rows_and_keeps_the_mean() -> None:
    encoder = PromptEncoder(sd1().to(torch.float64))
    plain = encoder.encode("a cat on a sofa").context
    weighted = encoder.encode("a (cat:1.5) on a [sofa]").context
    assert torch.allclose(weighted, by_hand(plain, {2: 1.5, 6: 1 / 1.1}), atol=1e-14)
    assert not torch.allclose(weighted, plain)
    assert torch.allclose(weighted.mean(), plain.mean())
    # Weights of 1 in brackets leave every bit as it was.
    assert torch.equal(encoder.encode("a (cat:1) on a sofa").context, plain)


@in_float64
def test_sdxl_weighs_each_encoder_by_itself() -> None:
    encoder = PromptEncoder(sdxl().to(torch.float64))
    plain, weighted = encoder.encode("a cat"), encoder.encode("a (cat:1.5)")
    assert torch.allclose(weighted.context[:, :32], by_hand(plain.context[:, :32], {2: 1.5}), atol=1e-14)
    assert torch.allclose(weighted.context[:, 32:], by_hand(plain.context[:, 32:], {2: 1.5}), atol=1e-14)
    assert plain.pooled is not None and weighted.pooled is not None
    assert torch.equal(weighted.pooled, plain.pooled)


def test_half_precision_is_weighed_in_full() -> None:
    encoder = PromptEncoder(sd1().to(torch.bfloat16))
    plain = encoder.encode("a cat").context
    weighted = encoder.encode("a (cat:1.5)").context
    assert weighted.dtype == torch.bfloat16
    assert torch.equal(weighted, by_hand(plain.float(), {2: 1.5}).bfloat16())


@pytest.mark.parametrize("make", [sd1, sdxl])
def test_a_long_prompt_is_its_chunks(make: Any) -> None:
    encoder = PromptEncoder(make())
    long = encoder.encode(LONG)
    first, second = ", ".join(["a castle"] * 25) + ",", ", ".join(["a castle"] * 15)
    assert long.tokenised.lengths == (75, 44)
    parts = [encoder.encode(first), encoder.encode(second)]
    assert torch.equal(long.context, torch.cat([part.context for part in parts]))
    if parts[0].pooled is not None:
        assert long.pooled is not None and torch.equal(long.pooled, parts[0].pooled)
    broken = encoder.encode("a cat BREAK (a dog:1.2)")
    weighted = torch.cat([encoder.encode("a cat").context, encoder.encode("(a dog:1.2)").context])
    assert torch.equal(broken.context, weighted)


def test_padding_is_the_encoding_of_nothing() -> None:
    encoder = PromptEncoder(sdxl())
    plain, padded, empty = encoder.encode("a cat"), encoder.encode("a cat", chunks=3), encoder.encode("")
    assert torch.equal(padded.context, torch.cat([plain.context, empty.context, empty.context]))
    assert len(padded.tokenised.tokens) == len(padded.context) == 3 * 77
    assert padded.tokenised.lengths == (2, 0, 0)
    assert plain.pooled is not None and padded.pooled is not None and torch.equal(padded.pooled, plain.pooled)
    assert encoder.encode(LONG, chunks=1).context.shape[0] == 2 * 77
    assert encoder.encode("a cat", chunks=3) is padded


def test_a_batch_has_one_length() -> None:
    encoder = PromptEncoder(sdxl())
    prompts, negatives = ["a cat", LONG, "a (dog:1.2)"], ["", "blurry", "a BREAK b BREAK c"]
    batch = encode_batch(encoder, prompts, negatives)
    assert batch.contexts.shape == (3, 3 * 77, 80)
    assert batch.negative_contexts is not None and batch.negative_contexts.shape == batch.contexts.shape
    assert batch.pooled is not None and batch.pooled.shape == (3, 24)
    assert batch.negative_pooled is not None and batch.negative_pooled.shape == (3, 24)
    for i, (prompt, negative) in enumerate(zip(prompts, negatives, strict=True)):
        assert torch.equal(batch.contexts[i], encoder.encode(prompt, 3).context)
        assert torch.equal(batch.negative_contexts[i], encoder.encode(negative, 3).context)
        assert batch.tokenised[i] == encoder.encode(prompt).tokenised
    alone = encode_batch(encoder, ["a cat"], None)
    assert torch.equal(alone.contexts[0], batch.contexts[0, :77])
    assert alone.negative_contexts is None and alone.negative_pooled is None
    assert encode_batch(PromptEncoder(sd1()), ["a cat"], [""]).pooled is None


def test_batches_that_do_not_match_are_refused() -> None:
    encoder = PromptEncoder(sd1())
    with pytest.raises(ValueError, match="negatives has 2 entries: it should have 1"):
        encode_batch(encoder, ["a"], ["b", "c"])
    with pytest.raises(ValueError, match="prompts is empty"):
        encode_batch(encoder, [], None)
    with pytest.raises(ValueError, match="neither text_encoder nor text_encoder_2"):
        PromptEncoder(SimpleNamespace(text_encoder=None))


def test_inversions_of_several_vectors_are_spread_as_diffusers_does() -> None:
    pipe = sd1()
    pipe.load_textual_inversion(torch.randn(3, 32, generator=torch.Generator().manual_seed(0)), token="<toy>")
    assert pipe.maybe_convert_prompt("a <toy>", pipe.tokenizer) == "a <toy> <toy>_1 <toy>_2"
    encoder = PromptEncoder(pipe)
    for prompt in ("a <toy>", "<toy> and a cat, <toy>"):
        assert torch.equal(encoder.encode(prompt).context, own(pipe, prompt)[0][0])
    assert encoder.encode("a (<toy>:1.3) cat").tokenised.lengths == (5,)
