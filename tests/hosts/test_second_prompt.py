"""Words are those that were really encoded: by each encoder, and as the emphasis says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca import Plan
from lib_ebca.hosts.diffusers import HostError, encoded, energy_attention
from lib_ebca.hosts.prompts import PromptEncoder
from lib_ebca.language.directives import parse
from lib_ebca.language.words import WordError, boost_weights, rows, tokenise
from tests import tiny_pipe, tiny_text

LONG = ", ".join(["a castle"] * 40)


@pytest.fixture(scope="module")
def sdxl() -> Any:
    return tiny_pipe.sdxl()


def sample(pipe: Any, plan: Plan, prompt: str, emphasis: bool = True, **asked: Any) -> Tensor:
    with energy_attention(pipe, plan, emphasis=emphasis) as run:
        images: Tensor = pipe(
            prompt,
            num_inference_steps=2,
            output_type="latent",
            generator=torch.Generator().manual_seed(0),
            **asked,
        ).images
    assert run.comments == []
    return images


def test_without_emphasis_a_word_is_found_where_it_stands() -> None:
    tokens = tiny_text.tokenizer()
    read = tokenise(tokens, "a (cat:1.5)", literal=True)
    (row,) = rows(read, "cat", None, tokens)
    assert read.tokens[row].text == "cat</w>" and read.tokens[row].weight == 1.0
    assert rows(tokenise(tokens, "a (cat:1.5)"), "cat", None, tokens) == (row - 1,)
    assert len(tokenise(tokens, LONG, literal=True).tokens) == 77


def test_a_boost_without_emphasis_is_the_boost_of_the_same_row() -> None:
    pipe = tiny_pipe.sd1()
    plan = parse("<bcu:0.05:0.1> <boost:cat:5>").plan
    found = sample(pipe, plan, "a (cat:1.5)", emphasis=False)
    # No bracket is emphasis behind a backslash, so the WebUI's way reads the same tokens.
    assert torch.allclose(found, sample(pipe, plan, r"a \(cat:1.5\)"), atol=1e-5)
    assert not torch.allclose(found, sample(pipe, parse("<bcu:0.05:0.1>").plan, r"a \(cat:1.5\)"), atol=1e-5)


def test_long_prompts_without_emphasis_are_cut_off_as_diffusers_does() -> None:
    pipe = tiny_pipe.sd1()
    plan = parse("<bcu:0.05:0.1> <boost:castle:3> <edit:dog:0.5>").plan
    assert torch.isfinite(sample(pipe, plan, LONG, emphasis=False)).all()
    with pytest.raises(WordError, match="cat"):
        sample(pipe, parse("<bcu><boost:cat:3>").plan, f"{LONG}, cat", emphasis=False)


@pytest.mark.parametrize("emphasis", [False, True])
def test_a_word_of_the_second_prompt_alone_is_boosted(sdxl: Any, emphasis: bool) -> None:
    asked: dict[str, Any] = {"prompt_2": "a dog on a castle", "emphasis": emphasis}
    plain, boosted = (
        sample(sdxl, parse(f"<bcu:0.05:0.1> {boost}").plan, "a cat", **asked) for boost in ("", "<boost:castle:5>")
    )
    assert not torch.allclose(plain, boosted, atol=1e-5)
    with pytest.raises(WordError, match="sofa"):
        sample(sdxl, parse("<bcu><boost:sofa:5>").plan, "a cat", **asked)


def test_rows_of_both_prompts_are_boosted() -> None:
    tokens = tiny_text.tokenizer()
    first, second = tokenise(tokens, "a cat"), tokenise(tokens, "on a sofa, a cat")
    (own,), (other,) = rows(first, "cat", None, tokens), rows(second, "cat", None, tokens)
    boosts = parse("<boost:cat:3>").plan.boosts
    weights = boost_weights(first, boosts, tokens, second)
    assert [row for row, weight in enumerate(weights) if weight == 3.0] == sorted({own, other})
    assert boost_weights(first, boosts, tokens)[other] == 1.0


def test_second_prompts_are_encoded_by_the_second_encoder_alone(sdxl: Any) -> None:
    encoder = PromptEncoder(sdxl)
    both, first, second = encoder.encode("a cat", second="a dog"), encoder.encode("a cat"), encoder.encode("a dog")
    width = sdxl.text_encoder.config.hidden_size
    assert torch.equal(both.context[:, :width], first.context[:, :width])
    assert torch.equal(both.context[:, width:], second.context[:, width:])
    assert both.pooled is not None and second.pooled is not None
    assert torch.equal(both.pooled, second.pooled)
    longer = encoder.encode("a cat", second=LONG)
    assert len(longer.context) == 154
    assert torch.equal(longer.context[:77, :width], first.context[:, :width])


def test_plain_second_prompts_are_the_pipelines_own_to_the_bit(sdxl: Any) -> None:
    asked: dict[str, Any] = {
        "prompt_2": "a dog",
        "negative_prompt": "castle",
        "negative_prompt_2": "sofa",
        "num_inference_steps": 2,
        "output_type": "latent",
    }
    plain = sdxl("a cat", generator=torch.Generator().manual_seed(0), **asked).images
    with encoded(sdxl):
        assert torch.equal(plain, sdxl("a cat", generator=torch.Generator().manual_seed(0), **asked).images)
        strong = sdxl("a (cat:1.6)", generator=torch.Generator().manual_seed(0), **asked).images
    assert not torch.allclose(plain, strong, atol=1e-4)


def test_as_many_second_prompts_as_prompts(sdxl: Any) -> None:
    refused = pytest.raises(HostError, match="prompt_2 has 3 entries: it should have one, or one for each of the 2")
    with refused, encoded(sdxl):
        sdxl(["a cat", "a dog"], prompt_2=["a", "b", "c"], num_inference_steps=1)
