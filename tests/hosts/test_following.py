"""Following on whole pipelines, against processors that write the probabilities out, as the published code does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import PNDMScheduler
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor

from lib_ebca import Concept, ContextUpdate, Edit, Plan
from lib_ebca.hosts.diffusers import HostError, encoded, energy_attention
from lib_ebca.hosts.unet import cross_attention_layers, self_attention_layers
from lib_ebca.language.follow import Follow
from lib_ebca.language.words import WordError, rows, tokenise
from lib_ebca.methods.head_vectors import HeadVectors

STEPS = 5
PROMPTS = ["a cat on a sofa", "a dog on a sofa"]
FOLLOW = Follow(0, cross=0.8, self_=0.6, words={"dog": 0.4}, weights={"sofa": 3.0}, pixels=64)


def draw(pipe: Any, prompts: list[str] = PROMPTS, **asked: Any) -> Tensor:
    """The prompts' latents, all from the same noise."""
    generators = [torch.Generator().manual_seed(0) for _ in range(len(prompts) * asked.get("num_images_per_prompt", 1))]
    usual = {"negative_prompt": [""] * len(prompts), "num_inference_steps": STEPS, "output_type": "latent"}
    return pipe(prompts, generator=generators, **(usual | asked)).images


def followed(pipe: Any, plan: Plan | list[Plan], prompts: list[str] = PROMPTS, **asked: Any) -> Tensor:
    options = asked.pop("options", {})
    with energy_attention(pipe, plan, **options):
        return draw(pipe, prompts, **asked)


def stock(pipe: Any, prompts: list[str] = PROMPTS) -> Tensor:
    """Without a plan; the prompts are read one by one, as they are under one."""
    with encoded(pipe):
        return draw(pipe, prompts)


class Explicit:
    """The published way for prompts that differ in a word of as many tokens: (unconditional, conditional) x 2 rows."""

    def __init__(self, pipe: Any) -> None:
        self.pipe, self.calls = pipe, 0
        of = tokenise(pipe.tokenizer, PROMPTS[1])
        self.dog, self.sofa = (list(rows(of, word, None, pipe.tokenizer)) for word in ("dog", "sofa"))
        self.layers = len(cross_attention_layers(pipe.unet)) + len(self_attention_layers(pipe.unet))

    def __call__(self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Any = None, **_: Any) -> Tensor:
        step, self.calls = self.calls // self.layers, self.calls + 1
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        maps = (query @ key.mT * attn.scale).softmax(-1)
        own = maps[3].clone()
        if encoder_hidden_states is None:
            if step < int(0.6 * STEPS):
                maps[3] = maps[2]
        elif step < int(0.8 * (STEPS + 1)):
            maps[3] = maps[2]
            maps[3][:, :, self.sofa] *= 3.0
            if step >= int(0.4 * (STEPS + 1)):
                maps[3][:, :, self.dog] = own[:, :, self.dog]
        return attn.to_out[0]((maps @ value).transpose(1, 2).flatten(2))


def test_a_pipeline_follows_as_written_out(pipe: Any) -> None:
    found = followed(pipe, [Plan(), Plan(follow=FOLLOW)])
    pipe.unet.set_attn_processor(Explicit(pipe))
    wanted = stock(pipe)
    pipe.unet.set_attn_processor(AttnProcessor2_0())
    plain = stock(pipe)
    assert torch.allclose(found, wanted, atol=2e-4)
    assert torch.allclose(found[0], plain[0], atol=2e-4)
    assert (wanted[1] - plain[1]).abs().max() > 0.1


def test_without_following_nothing_is_touched(sd1: Any) -> None:
    assert torch.equal(followed(sd1, [Plan(), Plan(update=ContextUpdate(0, 0))]), draw(sd1))
    before = [sorted(vars(layer)) for layer in self_attention_layers(sd1.unet)]
    with energy_attention(sd1, Plan(update=ContextUpdate())):
        assert [sorted(vars(layer)) for layer in self_attention_layers(sd1.unet)] == before


def test_windows_that_never_open_leave_the_pictures_bit_for_bit(sd1: Any) -> None:
    shut = Plan(follow=Follow(0, cross=0.0, self_=0.0))
    assert torch.equal(followed(sd1, shut), stock(sd1))


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_everything_is_as_it_was_afterwards(sd1: Any, error: type[BaseException] | None) -> None:
    def fingerprint() -> list[object]:
        layers = [*self_attention_layers(sd1.unet), *(layer for _, layer in cross_attention_layers(sd1.unet))]
        return [sorted(vars(each)) for each in (*layers, sd1.scheduler)] + [dict(vars(sd1))]

    def fail(pipe: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        if error is not None:
            raise error("in the middle of sampling")
        return kept

    draw(sd1)
    before = fingerprint()
    try:
        followed(sd1, Plan(follow=replace(FOLLOW, blend=("cat", "dog"), pixels=16)), callback_on_step_end=fail)
    except RuntimeError:
        assert error is RuntimeError
    assert fingerprint() == before


def test_one_plan_for_all_leaves_the_source_alone(sd1: Any) -> None:
    plan = Plan(follow=Follow(0, pixels=64))
    assert torch.equal(followed(sd1, plan), followed(sd1, [Plan(), plan]))


def test_several_sources_in_one_batch_are_those_drawn_alone(sd1: Any) -> None:
    others = ["a castle on a sofa", "a wolf on a sofa"]
    plans = [Plan(), Plan(follow=Follow(0, pixels=64)), Plan(), Plan(follow=Follow(2, pixels=64))]
    together = followed(sd1, plans, PROMPTS + others)
    assert torch.allclose(together[:2], followed(sd1, plans[:2]), atol=1e-5)
    assert torch.allclose(together[2:], followed(sd1, plans[:2], others), atol=1e-5)


def test_copies_of_a_prompt_follow_copy_by_copy(sd1: Any) -> None:
    plan = Plan(follow=Follow(0, pixels=64))
    found = followed(sd1, plan, num_images_per_prompt=2)
    one = followed(sd1, plan)
    # All copies begin with the same noise here.
    assert torch.allclose(found, one[[0, 0, 1, 1]], atol=1e-5)


def test_local_blend_keeps_the_source_where_no_word_is_looked_at(sd1: Any) -> None:
    def shares(threshold: float) -> Tensor:
        plan = Plan(follow=Follow(0, cross=0.2, self_=0.0, blend=("cat", "dog"), threshold=threshold, pixels=16))
        found = followed(sd1, plan)
        return (found[0] == found[1]).all(0)

    assert not shares(0.0).any()
    kept = shares(0.995)
    assert kept.any()
    assert not kept.all()


def test_local_blend_without_a_layer_of_its_size_is_told(sd1: Any) -> None:
    with energy_attention(sd1, Plan(follow=Follow(0, blend=("cat", "dog")))) as run:
        draw(sd1)
    assert run.comments == ["Local blend was left out: the UNet has no layer of a quarter of the latent's sides."]


def test_the_spare_evaluation_of_pndm_is_counted(sd1: Any) -> None:
    """With a window of one evaluation more the picture is another."""
    scheduler = sd1.scheduler
    sd1.scheduler = PNDMScheduler.from_config(scheduler.config, skip_prk_steps=True)
    try:
        a, b = (followed(sd1, Plan(follow=Follow(0, cross=cross, self_=0.0))) for cross in (0.99, 1.0))
    finally:
        sd1.scheduler = scheduler
    assert torch.equal(a[0], b[0])
    assert not torch.equal(a[1], b[1])


def test_it_composes_with_the_update_edits_and_concepts(sd1: Any) -> None:
    """The update moves the contexts first, then maps are followed, then edits are averaged in."""
    heads = tuple(layer.heads for _, layer in cross_attention_layers(sd1.unet))
    vectors = HeadVectors(("Color",), torch.rand(1, sum(heads)) * 3, heads, "made up")
    rest = Plan(ContextUpdate(0.05, 0.1), (Edit("castle", 0.4),), concepts=(Concept("sofa", (("Color", 1.0),)),))
    plans = [rest, replace(rest, follow=FOLLOW)]
    options = {"vectors": vectors}
    found, alone = followed(sd1, plans, options=options), followed(sd1, rest, options=options)
    assert torch.allclose(found[0], alone[0], atol=1e-5)
    assert (found[1] - alone[1]).abs().max() > 0.05
    plain = followed(sd1, [Plan(), Plan(follow=FOLLOW)])
    assert (found[1] - plain[1]).abs().max() > 0.05


def test_layers_of_others_are_told_of(sd1: Any) -> None:
    class Theirs(AttnProcessor):
        pass

    sd1.unet.set_attn_processor(Theirs())
    try:
        with energy_attention(sd1, Plan(follow=FOLLOW)) as run:
            found = draw(sd1)
        assert torch.allclose(found, stock(sd1), atol=1e-5)
    finally:
        sd1.unet.set_attn_processor(AttnProcessor2_0())
    assert len(run.comments) == 2


@pytest.mark.parametrize(
    ("follow", "prompts", "sentence"),
    [
        (Follow(2), PROMPTS, "follow.source is 2: it should be the number of a prompt of the call, from 0 to 1"),
        (Follow(0), PROMPTS[:1], "give the call two prompts at least"),
        (Follow(0, align="replace"), ["a cat", "a big cat"], "the prompts have 2 and 3 words"),
    ],
)
def test_what_cannot_be_followed_is_told_in_a_sentence(
    sd1: Any, follow: Follow, prompts: list[str], sentence: str
) -> None:
    with pytest.raises(HostError, match=sentence) as raised:
        followed(sd1, Plan(follow=follow), prompts)
    assert "\n" not in str(raised.value)


def test_a_followed_prompt_follows_none(sd1: Any) -> None:
    with pytest.raises(HostError, match="that prompt follows another one itself"):
        followed(sd1, [Plan(), Plan(follow=Follow(0)), Plan(follow=Follow(1))], [*PROMPTS, "a wolf"])


@pytest.mark.parametrize(
    "asked", [{"words": {"horse": 0.4}}, {"weights": {"horse": 2}}, {"keep": "horse"}, {"blend": "horse"}]
)
def test_unknown_words_are_told(sd1: Any, asked: dict[str, Any]) -> None:
    with pytest.raises(WordError, match='"horse" is not in the prompt; the words of the prompt are: a,'):
        followed(sd1, Plan(follow=Follow(0, **asked)))


def test_embeddings_have_no_words_to_follow(sd1: Any) -> None:
    embeds, negative = sd1.encode_prompt(PROMPTS, "cpu", 1, True)
    with energy_attention(sd1, Plan(follow=Follow(0))), pytest.raises(HostError, match="give `prompt`"):
        sd1(prompt_embeds=embeds, negative_prompt_embeds=negative, num_inference_steps=1, output_type="latent")
