"""Concepts on whole pipelines, against processors that write the probabilities out, as the published code does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

from lib_ebca import Concept, Plan
from lib_ebca.attention.layer import FACTORS_LEFT_OUT
from lib_ebca.hosts.diffusers import energy_attention
from lib_ebca.hosts.unet import cross_attention_layers
from lib_ebca.language.directives import parse
from lib_ebca.language.words import WordError, rows, tokenise
from lib_ebca.methods.head_vectors import HeadVectors, UnknownConceptError, VectorsError
from tests import tiny_pipe

STEPS = 3
PROMPT = "a cat on a sofa"


def vectors_of(pipe: Any) -> HeadVectors:
    """Made-up relevances in the model's own shape."""
    heads = tuple(layer.heads for _, layer in cross_attention_layers(pipe.unet))
    relevances = 3 * torch.rand(2, sum(heads), generator=torch.Generator().manual_seed(3))
    return HeadVectors(("Color", "Plants"), relevances, heads, "made up")


def draw(pipe: Any, prompt: Any = PROMPT) -> Tensor:
    count = 1 if isinstance(prompt, str) else len(prompt)
    generators = [torch.Generator().manual_seed(seed) for seed in range(count)]
    asked = {"negative_prompt": [""] * count, "num_inference_steps": STEPS, "output_type": "latent"}
    return pipe([prompt] if isinstance(prompt, str) else prompt, generator=generators, **asked).images


class Explicit:
    """The published way: multiply columns of the conditional half's probabilities, head by head."""

    def __init__(self, factors: Tensor, tokens: tuple[int, ...]) -> None:
        self.factors, self.tokens = factors, list(tokens)

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Any = None, *_: Any, **__: Any
    ) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states))
        )
        probabilities = (query @ key.mT * attn.scale).softmax(-1)
        half = len(probabilities) // 2
        probabilities[half:, :, :, self.tokens] *= self.factors[None, :, None, None]
        return attn.to_out[0]((probabilities @ value).transpose(1, 2).flatten(2))


def test_a_concept_is_the_published_multiplication(pipe: Any) -> None:
    vectors = vectors_of(pipe)
    plan = parse("<concept:sofa:Color=2:Plants=-1>").plan
    with energy_attention(pipe, plan, vectors=vectors) as run:
        ours = draw(pipe)
    factors = vectors.by_layer(2 * vectors.relevance[0] - vectors.relevance[1])
    tokens = rows(tokenise(pipe.tokenizer, PROMPT), "sofa", None, pipe.tokenizer)
    layers = cross_attention_layers(pipe.unet)
    stock = draw(pipe)
    for (_, layer), own in zip(layers, factors, strict=True):
        layer.set_processor(Explicit(own, tokens))
    try:
        theirs = draw(pipe)
    finally:
        for _, layer in layers:
            layer.set_processor(AttnProcessor2_0())
    assert run.comments == []
    assert (ours - theirs).abs().max() < 1e-4
    assert (stock - theirs).abs().max() > 1e-2


def test_each_picture_of_a_batch_has_its_own(pipe: Any) -> None:
    vectors = vectors_of(pipe)
    plans = [Plan(), parse("<concept:sofa:Color> <concept:cat:Plants=2:until=0.5>").plan]
    with energy_attention(pipe, plans, vectors=vectors):
        together = draw(pipe, [PROMPT, PROMPT])
    assert torch.allclose(together[0], draw(pipe)[0], atol=1e-4)
    assert (together[1] - draw(pipe, [PROMPT, PROMPT])[1]).abs().max() > 1e-2


def test_a_window_that_is_never_open_is_off() -> None:
    pipe = tiny_pipe.sd1()
    with energy_attention(pipe, parse("<concept:sofa:Color:from=0.2:until=0.2>").plan, vectors=vectors_of(pipe)):
        found = draw(pipe)
    assert torch.equal(found, draw(pipe))


def test_somebody_elses_processor_is_left_alone_and_told_of() -> None:
    class Theirs(AttnProcessor2_0):
        """Of a class of its own, so that the fused form may not stand in for it."""

    pipe = tiny_pipe.sd1()
    for _, layer in cross_attention_layers(pipe.unet):
        layer.set_processor(Theirs())
    with energy_attention(pipe, parse("<concept:sofa:Color>").plan, vectors=vectors_of(pipe)) as run:
        found = draw(pipe)
    assert run.comments == [FACTORS_LEFT_OUT]
    assert torch.equal(found, draw(pipe))


@pytest.mark.parametrize(
    ("given", "plan", "error", "sentence"),
    [
        (None, "<concept:sofa:Color>", VectorsError, "no head relevance vectors are published for a UNet of"),
        ("other", "<concept:sofa:Color>", VectorsError, r"1 heads, and this model has .* measure its own"),
        ("own", "<concept:sofa:Colours>", UnknownConceptError, r"did you mean Color\?.*the vectors know Color, Plants"),
        ("own", "<concept:castle:Color>", WordError, '"castle" is not in the prompt'),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    given: str | None, plan: str, error: type[ValueError], sentence: str
) -> None:
    pipe = tiny_pipe.sd1()
    other = HeadVectors(("Color",), torch.ones(1, 1), (1,), "another model's")
    vectors = {None: None, "other": other, "own": vectors_of(pipe)}[given]
    with pytest.raises(error, match=sentence), energy_attention(pipe, parse(plan).plan, vectors=vectors):
        draw(pipe)
    assert "encode_prompt" not in vars(pipe)


def test_published_vectors_serve_a_unet_of_the_shape_of_sd_1() -> None:
    levels = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    pipe = tiny_pipe.sd1(
        sample_size=16,
        block_out_channels=(16, 16, 24, 24),
        layers_per_block=2,
        down_block_types=levels,
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=8,
    )
    plan = Plan(concepts=(Concept("sofa", (("color", 1.0),)),))
    with energy_attention(pipe, plan) as run:
        strengthened = draw(pipe)
    assert run.comments == []
    assert (strengthened - draw(pipe)).abs().max() > 1e-3
