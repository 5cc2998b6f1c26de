"""Votes of a UNet's heads: one each, drawn by prompt, with the picture left as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca.hosts.head_votes import EncodedWords, counting
from lib_ebca.hosts.prompts import PromptEncoder
from lib_ebca.hosts.run import HostError
from lib_ebca.hosts.unet import cross_attention_layers
from tests import tiny_pipe

WORDS = {"Animals": ("cat", "a dog"), "Furniture": ("sofa",), "Clothes": ("shirt", "cats", "dog shirt")}
STEPS, SEED = 2, 5


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return getattr(tiny_pipe, request.param)()


def draw(pipe: Any, prompts: list[str]) -> Tensor:
    generators = [torch.Generator().manual_seed(number) for number in range(len(prompts))]
    return pipe(prompts, num_inference_steps=STEPS, output_type="latent", generator=generators).images


def test_the_picture_is_left_as_it_was_and_every_head_votes_once(pipe: Any) -> None:
    plain = draw(pipe, ["a cat", "a sofa"])
    with counting(pipe, EncodedWords.of(pipe, WORDS), SEED) as counter:
        counter.begin([3, 7])
        assert torch.equal(draw(pipe, ["a cat", "a sofa"]), plain)
    assert counter.counts.shape[0] == STEPS
    assert (counter.counts.sum(1) == 2).all()
    assert not any(layer._forward_pre_hooks for _, layer in cross_attention_layers(pipe.unet))
    assert not pipe.unet._forward_pre_hooks


def test_a_vote_is_the_published_one(pipe: Any) -> None:
    """Each layer again from what it read: words set one behind the other, start first, softmax over all of them."""
    read: list[tuple[Any, Tensor]] = []
    hooks = [
        layer.register_forward_pre_hook(lambda layer, args, kwargs: read.append((layer, args[0])), with_kwargs=True)
        for _, layer in cross_attention_layers(pipe.unet)
    ]
    words = EncodedWords.of(pipe, WORDS)
    with counting(pipe, words, SEED) as counter:
        counter.begin([4])
        draw(pipe, ["a cat"])
    for hook in hooks:
        hook.remove()

    encoder = PromptEncoder(pipe)
    generator = torch.Generator().manual_seed(SEED * 1_000_003 + 4)
    layers = len(read) // STEPS
    for number, (layer, states) in enumerate(read):
        drawn = torch.rand(len(WORDS), generator=generator, dtype=torch.float64)
        chosen = [own[int(share * len(own))] for share, own in zip(drawn.tolist(), WORDS.values(), strict=True)]
        encoded = [encoder.encode(word) for word in chosen]
        own = [each.context[1 : each.tokenised.lengths[0] + 1] for each in encoded]
        key = layer.to_k(torch.cat([encoded[0].context[:1], *own]))
        for head in range(layer.heads):
            width = key.shape[-1] // layer.heads
            part = slice(head * width, (head + 1) * width)
            scores = layer.to_q(states[1])[:, part] @ key[:, part].T * layer.scale
            looked = scores.softmax(-1).mean(0)[1:].split([len(each) for each in own])
            wanted = int(torch.stack([each.mean() for each in looked]).argmax())
            column = sum(each.heads for each, _ in read[: number % layers]) + head
            assert int(counter.counts[number // layers][:, column].argmax()) == wanted


def test_a_word_without_tokens_is_refused() -> None:
    with pytest.raises(HostError, match=r"the word '' of the concept 'B' should have 1 to 75 tokens"):
        EncodedWords.of(tiny_pipe.sd1(), {"A": ("cat",), "B": ("",)})
