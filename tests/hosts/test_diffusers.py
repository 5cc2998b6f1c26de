"""The diffusers host on whole pipelines: what it does, what it leaves alone, and that nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

from lib_ebca import ContextUpdate, Edit, Plan
from lib_ebca.hosts.diffusers import HostError, encoded, energy_attention
from lib_ebca.hosts.unet import cross_attention_layers
from lib_ebca.language.directives import parse
from lib_ebca.language.words import WordError
from tests import tiny_pipe
from tests.hosts.sampling import BCU, FULL, STEPS, sample


def fingerprint(pipe: Any) -> list[object]:
    """The identity of everything that the host could have touched."""
    found: list[object] = [dict(vars(pipe)), list(pipe.unet._forward_pre_hooks), list(pipe.unet._forward_hooks)]
    for _, module in cross_attention_layers(pipe.unet):
        found.append((id(module.processor), sorted(vars(module)), [id(value) for value in vars(module).values()]))
    return found


def test_an_inactive_plan_touches_nothing(pipe: Any) -> None:
    before = fingerprint(pipe)
    for plan in (Plan(), Plan(edits=(Edit("dog", 0.0),))):
        with energy_attention(pipe, plan):
            assert fingerprint(pipe)[1:] == before[1:]
        with energy_attention(pipe, plan, emphasis=False):
            assert fingerprint(pipe) == before
    assert fingerprint(pipe) == before
    plain = pipe(
        "a cat", num_inference_steps=STEPS, output_type="latent", generator=torch.Generator().manual_seed(0)
    ).images
    with energy_attention(pipe, Plan(update=ContextUpdate(0, 0))):
        same = pipe(
            "a cat", num_inference_steps=STEPS, output_type="latent", generator=torch.Generator().manual_seed(0)
        ).images
    assert torch.equal(plain, same)


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_everything_is_as_it_was_afterwards(pipe: Any, error: type[BaseException] | None) -> None:
    pipe("a cat", num_inference_steps=1, output_type="latent")
    before = fingerprint(pipe)

    def fail(pipe: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        if error is not None and step == 1:
            raise error("in the middle of sampling")
        return kept

    try:
        sample(pipe, FULL, callback_on_step_end=fail)
    except (RuntimeError, KeyboardInterrupt) as caught:
        assert type(caught) is error
    after = fingerprint(pipe)
    assert after[1:] == before[1:]
    assert "encode_prompt" not in vars(pipe)
    assert all("forward" not in vars(module) for _, module in cross_attention_layers(pipe.unet))


def test_somebody_elses_forward_is_put_back(sd1: Any) -> None:
    _, module = cross_attention_layers(sd1.unet)[0]
    calls = []
    original = module.forward

    def theirs(*args: Any, **keywords: Any) -> Tensor:
        calls.append(1)
        return original(*args, **keywords)

    module.forward = theirs
    try:
        sample(sd1, BCU)
        assert vars(module)["forward"] is theirs
        assert calls
    finally:
        del module.forward


def test_update_edits_and_boosts_act(pipe: Any) -> None:
    plain = sample(pipe, Plan())
    for text in ("<bcu:0.05:0.1>", "<edit:dog:0.5>", "<edit:dog:-0.3>", "<bcu:0.05:0.1><boost:cat:3>"):
        assert not torch.allclose(plain, sample(pipe, parse(text).plan), atol=1e-4), text
    boosted = sample(pipe, parse("<bcu:0.05:0.1><boost:cat:3>").plan)
    assert not torch.allclose(boosted, sample(pipe, BCU), atol=1e-5)


def test_a_picture_does_not_depend_on_its_neighbours(pipe: Any) -> None:
    plans = [FULL, Plan(), parse("<edit:sofa:0.4:until=0.5>").plan]
    prompts = ["a cat on a sofa", "a dog", "castle, sofa"]
    together = sample(pipe, plans, prompts, seeds=(0, 1, 2), negative_prompt=["", "dog", ""])
    for index in (0, 1, 2):
        alone = sample(pipe, plans[index], prompts[index], seeds=(index,), negative_prompt=["", "dog", ""][index])
        assert torch.allclose(together[index], alone[0], atol=2e-4), index


def test_several_pictures_per_prompt(pipe: Any) -> None:
    prompts, plans = ["a cat on a sofa", "a dog"], [FULL, BCU]
    doubled = sample(pipe, plans, prompts, seeds=(0, 1, 2, 3), num_images_per_prompt=2)
    single = sample(pipe, plans, prompts, seeds=(1, 3))
    assert torch.allclose(doubled[[1, 3]], single, atol=2e-4)


@pytest.mark.parametrize("asked", [{"guidance_scale": 1.0}, {"guidance_rescale": 0.7}])
def test_guidance_off_and_rescaled(pipe: Any, asked: dict[str, Any]) -> None:
    changed = sample(pipe, FULL, **asked)
    assert torch.isfinite(changed).all()
    assert not torch.allclose(changed, sample(pipe, Plan(), **asked), atol=1e-5)


def test_before_its_window_a_plan_changes_no_bit(pipe: Any) -> None:
    seen: dict[bool, list[Tensor]] = {False: [], True: []}
    for active in seen:

        def keep(pipe: Any, step: int, timestep: Any, kept: dict[str, Any], active: bool = active) -> dict[str, Any]:
            seen[active].append(kept["latents"].clone())
            return kept

        plan = Plan(edits=(Edit("dog", 0.7, start=0.5),)) if active else Plan()
        sample(pipe, plan, callback_on_step_end=keep)
    same = [torch.equal(a, b) for a, b in zip(seen[False], seen[True], strict=True)]
    assert same == [True, True, False, False]


def test_the_processors_kind_does_not_change_the_numbers(pipe: Any) -> None:
    class Theirs(AttnProcessor2_0):
        pass

    fused = sample(pipe, FULL)
    found = pipe.unet.attn_processors
    pipe.unet.set_attn_processor(Theirs())
    try:
        wrapped = sample(pipe, FULL)
    finally:
        pipe.unet.set_attn_processor(dict(found))
    assert torch.allclose(fused, wrapped, atol=2e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    exact = sample(tiny_pipe.sd1(), FULL)
    half = sample(tiny_pipe.sd1().to(dtype), FULL)
    assert half.dtype == dtype
    assert torch.isfinite(half).all()
    assert (half.float() - exact).norm() < 0.05 * exact.norm()


def test_emphasis_breaks_and_long_prompts(pipe: Any) -> None:
    with encoded(pipe) as run:
        pipe("a (cat:1.4) BREAK [sofa]", num_inference_steps=1, output_type="latent")
        assert len(run.tokenised[0].tokens) == 154
    plain, strong = sample(pipe, BCU, "a cat"), sample(pipe, BCU, "a (cat:1.4)")
    assert not torch.allclose(plain, strong, atol=1e-4)
    literal = sample(pipe, BCU, "a (cat:1.4)", options={"emphasis": False})
    assert not torch.allclose(strong, literal, atol=1e-4)


@pytest.mark.parametrize("plan", [Plan(), Plan(edits=(Edit("dog", 1e-30),)), Plan(edits=(Edit("dog", 1, 0.3, 0.3),))])
def test_emphasis_is_read_alike_whether_the_plan_acts_or_not(sd1: Any, plan: Plan) -> None:
    idle = Plan(edits=(Edit("dog", 0.5, start=0.99),))
    seen: list[Tensor] = []

    def keep(pipe: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        seen.extend([kept["latents"].clone()] if step == 1 else [])
        return kept

    for each in (plan, idle):
        sample(sd1, each, "a (cat:1.6)", callback_on_step_end=keep)
    assert torch.allclose(seen[0], seen[1], atol=1e-6)
    sample(sd1, plan, "a cat", callback_on_step_end=keep)
    assert not torch.allclose(seen[0], seen[2], atol=1e-4)


@pytest.mark.parametrize("plan", [None, "bcu", [], [None], 3])
def test_what_is_no_plan_is_refused_in_one_sentence(sd1: Any, plan: Any) -> None:
    refused = pytest.raises(HostError, match=r"^plan is .*: it should be a Plan, or a list of Plans")
    with refused, energy_attention(sd1, plan):
        pass


def test_plain_prompts_are_encoded_bit_for_bit(pipe: Any) -> None:
    def run() -> Tensor:
        return pipe(
            "a cat",
            negative_prompt="dog",
            num_inference_steps=2,
            output_type="latent",
            generator=torch.Generator().manual_seed(0),
        ).images

    plain = run()
    with encoded(pipe):
        assert torch.equal(plain, run())


def test_a_boost_of_a_word_that_is_not_there(pipe: Any) -> None:
    with pytest.raises(WordError, match="horse"):
        sample(pipe, parse("<bcu><boost:horse:2>").plan)


def test_boosts_need_words(sd1: Any) -> None:
    with energy_attention(sd1, FULL), pytest.raises(HostError, match="prompt_embeds"):
        sd1(prompt_embeds=torch.randn(1, 77, 32), negative_prompt_embeds=torch.randn(1, 77, 32), num_inference_steps=1)


def test_plans_must_fit_the_prompts(sd1: Any) -> None:
    with pytest.raises(HostError, match="3 plans were given for 2 prompts"):
        sample(sd1, [BCU] * 3, ["a cat", "a dog"], seeds=(0, 1))


def test_a_pipeline_without_a_unet_is_refused() -> None:
    class Other:
        unet = None

    with pytest.raises(HostError, match="Other"), energy_attention(Other(), BCU):
        pass


def test_an_unknown_batch_passes_through_with_a_comment(sd1: Any) -> None:
    context, latent = torch.randn(5, 77, 32), torch.randn(5, 4, 8, 8)
    stock = sd1.unet(latent, 1, context).sample
    with energy_attention(sd1, BCU) as run:
        assert torch.equal(sd1.unet(latent, 1, context).sample, stock)

        def meanwhile(pipe: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
            assert torch.equal(sd1.unet(latent, 1, context).sample, stock)
            return kept

        sd1("a cat", num_inference_steps=1, output_type="latent", callback_on_step_end=meanwhile)
    assert run.comments == [
        "EBCA was not applied: the UNet was called outside a call of the pipeline.",
        "EBCA was not applied: no row that the UNet was given carries an embedding that a prompt of the call was "
        "encoded to, as it was encoded.",
    ]
