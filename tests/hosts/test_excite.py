"""Subjects on diffusers: the latents' way against a plain transcription, in every pipeline, and nothing left behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
)
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

from lib_ebca.attention.excitation import Reading
from lib_ebca.attention.subjects import LevelError
from lib_ebca.hosts.diffusers import HostError, energy_attention
from lib_ebca.language.directives import parse
from lib_ebca.language.words import WordError
from tests import tiny_pipe
from tests.hosts.test_diffusers import fingerprint

PROMPT = "a cat on a sofa"
STEPS = 4
GUIDANCE = 5.0


@pytest.fixture
def sd1() -> Any:
    return tiny_pipe.sd1()


def sample(
    pipe: Any, plan: str, prompt: Any = PROMPT, seeds: tuple[int, ...] = (0,), **asked: Any
) -> tuple[Tensor, Any]:
    plans = [parse(each).plan for each in plan.split("|")]
    with energy_attention(pipe, plans if len(plans) > 1 else plans[0], **asked.pop("options", {})) as run:
        images = pipe(
            prompt,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            output_type="latent",
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            **asked,
        ).images
    return images, run


class Kept(AttnProcessor2_0):
    """Attention as it is, and its probabilities beside it."""

    def __init__(self, kept: list[Tensor]) -> None:
        super().__init__()
        self.kept = kept

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Any = None, **keywords: Any
    ) -> Any:
        query, key = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(encoder_hidden_states))
        )
        self.kept.append((query @ key.transpose(-1, -2) * attn.scale).softmax(-1))
        return super().__call__(attn, hidden_states, encoder_hidden_states, **keywords)


def transcribed(pipe: Any, scheduler: Any, pixels: int, row: int, size: float, generator: torch.Generator) -> Tensor:
    """A pass written out: a whole evaluation under autograd, one step of the latent, guidance, the scheduler's step."""
    embeds, negative = pipe.encode_prompt(PROMPT, "cpu", 1, True, negative_prompt="")[:2]
    kept: list[Tensor] = []
    processors = dict(pipe.unet.attn_processors)
    pipe.unet.set_attn_processor(
        {name: Kept(kept) if "attn2" in name else processor for name, processor in processors.items()}
    )
    scheduler.set_timesteps(STEPS)
    side = pipe.unet.config.sample_size
    latents = torch.randn(1, 4, side, side, generator=generator) * scheduler.init_noise_sigma
    for number, timestep in enumerate(scheduler.timesteps):
        if number < 0.5 * STEPS:
            kept.clear()
            leaf = latents.detach().requires_grad_()
            pipe.unet(scheduler.scale_model_input(leaf, timestep), timestep, embeds)
            heads = torch.cat([maps for maps in kept if maps.shape[2] == pixels], 1)
            shares = (100 * heads.mean(1)[0, :, 1:-1]).softmax(-1)
            image = shares[:, row - 1].unflatten(0, (int(pixels**0.5), -1))
            padded = torch.nn.functional.pad(image[None, None], (1,) * 4, mode="reflect")
            line = torch.exp(-((torch.tensor([-1.0, 0.0, 1.0]) / (2 * 0.5)) ** 2))
            kernel = torch.outer(line, line) / line.sum() ** 2
            loss = 1 - torch.nn.functional.conv2d(padded, kernel[None, None]).max()
            (gradient,) = torch.autograd.grad(loss, leaf)
            share = 1 - 0.5 * number / (len(scheduler.timesteps) - 1)
            latents = latents - size * share**0.5 * gradient
        with torch.no_grad():
            both = scheduler.scale_model_input(torch.cat([latents] * 2), timestep)
            un, cond = pipe.unet(both, timestep, torch.cat([negative, embeds])).sample.chunk(2)
            latents = scheduler.step(un + GUIDANCE * (cond - un), timestep, latents).prev_sample
    pipe.unet.set_attn_processor(processors)
    return latents


@pytest.mark.parametrize("kind", [DDIMScheduler, EulerDiscreteScheduler])
def test_a_pass_is_what_its_transcription_gives(sd1: Any, kind: Any) -> None:
    sd1.scheduler = kind.from_config(sd1.scheduler.config)
    found, run = sample(sd1, "<excite:cat:scale=3000:refine=off>", negative_prompt="", options={"emphasis": False})
    scheduler = kind.from_config(sd1.scheduler.config)
    expected = transcribed(sd1, scheduler, 16, 2, 3000.0, torch.Generator().manual_seed(0))
    untouched, _ = sample(sd1, "", negative_prompt="", options={"emphasis": False})
    assert float((found - untouched).abs().max()) > 0.01
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)
    assert [record.step for record in run.excited] == [0, 1]


def test_a_subject_gains(pipe: Any) -> None:
    _, run = sample(pipe, "<excite:cat>")
    assert [record.step for record in run.excited] == [0, 1]
    for record in run.excited:
        assert record.after["cat"] > record.scores["cat"]


def test_pictures_of_a_batch_are_moved_as_they_are_alone(pipe: Any) -> None:
    prompts = [PROMPT, "a dog and a castle"]
    plans = ["<excite:cat>", "<excite:castle:refine=off:scale=5>"]
    together, _ = sample(pipe, "|".join(plans), prompts, (0, 1), negative_prompt=["", ""])
    for number, (prompt, plan) in enumerate(zip(prompts, plans, strict=True)):
        alone, _ = sample(pipe, plan, prompt, (number,), negative_prompt="")
        torch.testing.assert_close(together[number : number + 1], alone, rtol=0, atol=2e-4)


def test_without_guidance_the_only_rows_are_moved(sd1: Any) -> None:
    with energy_attention(sd1, parse("<excite:cat>").plan) as run:
        sd1(PROMPT, num_inference_steps=STEPS, guidance_scale=1.0, output_type="latent")
    assert [record.step for record in run.excited] == [0, 1]


def test_the_rest_of_the_unet_is_not_run(sd1: Any) -> None:
    calls = {"mid": 0, "up": 0}
    hooks = [
        sd1.unet.mid_block.register_forward_pre_hook(lambda *_: calls.update(mid=calls["mid"] + 1)),
        sd1.unet.up_blocks[0].register_forward_pre_hook(lambda *_: calls.update(up=calls["up"] + 1)),
    ]
    sample(sd1, "<excite:cat:refine=off>")
    for hook in hooks:
        hook.remove()
    assert calls == {"mid": STEPS + 2, "up": STEPS}


def test_a_sampler_that_looks_twice_is_moved_once_a_step(sd1: Any) -> None:
    sd1.scheduler = HeunDiscreteScheduler.from_config(sd1.scheduler.config)
    _, run = sample(sd1, "<excite:cat>")
    assert [record.step for record in run.excited] == [0, 2]
    assert [record.target for record in run.excited] == [pytest.approx(0.05), pytest.approx(0.8)]


def test_checkpointing_changes_nothing(sd1: Any) -> None:
    plain, _ = sample(sd1, "<excite:cat>")
    kept_less, _ = sample(sd1, "<excite:cat>", options={"reading": Reading(checkpointing=True)})
    assert torch.equal(plain, kept_less)
    assert not sd1.unet.is_gradient_checkpointing


def test_the_update_and_the_edits_work_on_beside_it(pipe: Any) -> None:
    others = "<bcu:0.05:0.1> <edit:dog:0.5:attn=0.01> <boost:sofa:2>"
    alone, _ = sample(pipe, others)
    none, run = sample(pipe, others + " <excite:cat:scale=0>")
    assert torch.equal(alone, none)
    assert run.excited == []
    both, _ = sample(pipe, others + " <excite:cat>")
    assert float((both - alone).abs().max()) > 1e-3


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_everything_is_as_it_was_afterwards(pipe: Any, error: type[BaseException] | None) -> None:
    pipe("a cat", num_inference_steps=1, output_type="latent")
    pipe.unet.requires_grad_(True)
    before = fingerprint(pipe)[1:], sorted(vars(pipe.scheduler))

    def fail(pipe: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        if error is not None and step == 1:
            raise error("in the middle of sampling")
        return kept

    try:
        sample(pipe, "<excite:cat>", callback_on_step_end=fail)
    except RuntimeError as caught:
        assert type(caught) is error
    assert (fingerprint(pipe)[1:], sorted(vars(pipe.scheduler))) == before
    assert "encode_prompt" not in vars(pipe)
    assert all(parameter.requires_grad for parameter in pipe.unet.parameters())
    pipe.unet.requires_grad_(False)


def test_only_the_mask_is_moved(sd1: Any) -> None:
    mask = torch.zeros(8, 8)
    mask[:, :4] = 1
    seen: list[Tensor] = []
    with energy_attention(sd1, parse("<excite:cat:scale=3000>").plan, mask=mask):
        sd1.unet.register_forward_pre_hook(lambda module, args: seen.append(args[0][-1]))
        sd1(PROMPT, num_inference_steps=STEPS, output_type="latent", generator=torch.Generator().manual_seed(0))
    start = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))[0]
    moved = (seen[0] - start).abs().amax((0, 1))
    assert float(moved[0]) > 1e-3
    assert float(moved[-1]) == 0.0


def test_half_precision_keeps_its_type(sd1: Any) -> None:
    sd1.to(torch.bfloat16)
    found, run = sample(sd1, "<excite:cat:scale=3000>")
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()
    assert run.excited[0].after["cat"] > run.excited[0].scores["cat"]
    sd1.to(torch.float32)


def test_maps_are_kept_if_asked_for(sd1: Any) -> None:
    _, run = sample(sd1, "<excite:cat>", options={"record_maps": True})
    assert {tuple(record.maps["cat"].shape) for record in run.excited} == {(4, 4)}


def test_what_cannot_be_served_is_one_sentence(sd1: Any) -> None:
    with pytest.raises(
        WordError, match='"horse" is not in the prompt; the words of the prompt are: a, cat, on, a, sofa'
    ):
        sample(sd1, "<excite:horse>")
    with pytest.raises(LevelError, match="level is 5: it should be how often the latent's sides are halved"):
        sample(sd1, "<excite:cat>", options={"reading": Reading(level=5)})
    with pytest.raises(HostError, match="subjects need the prompt in words"):
        sample(
            sd1,
            "<excite:cat>",
            None,
            prompt_embeds=torch.zeros(1, 77, 32),
            negative_prompt_embeds=torch.zeros(1, 77, 32),
        )


def test_image_to_image_and_inpainting(sd1: Any) -> None:
    parts = {**sd1.components, "requires_safety_checker": False}
    picture, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1
    nine = {**parts, "unet": tiny_pipe.unet(in_channels=9)}
    ways: tuple[tuple[Any, list[int], dict[str, Any]], ...] = (
        (StableDiffusionImg2ImgPipeline(**parts), [0], {"image": picture, "strength": 0.5}),
        (StableDiffusionInpaintPipeline(**parts), [0], {"image": picture, "mask_image": mask, "strength": 0.75}),
        (StableDiffusionInpaintPipeline(**nine), [0, 1], {"image": picture, "mask_image": mask, "strength": 1.0}),
    )
    for pipe, steps, asked in ways:
        tiny_pipe.quiet(pipe)
        moved, run = sample(pipe, "<excite:cat:scale=3000>", **asked)
        still, _ = sample(pipe, "", **asked)
        assert [record.step for record in run.excited] == steps
        assert moved.isfinite().all()
        assert float((moved - still).abs().max()) > 1e-3


def test_controlnet(sd1: Any) -> None:
    torch.manual_seed(3)
    control = ControlNetModel.from_unet(sd1.unet, conditioning_channels=3, conditioning_embedding_out_channels=(8, 8))
    for parameter in control.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    parts = {**sd1.components, "controlnet": control, "requires_safety_checker": False}
    pipe = tiny_pipe.quiet(StableDiffusionControlNetPipeline(**parts))
    _, run = sample(pipe, "<excite:cat>", image=torch.rand(1, 3, 16, 16))
    assert [record.step for record in run.excited] == [0, 1]
    assert all(record.after["cat"] > record.scores["cat"] for record in run.excited)


def test_an_ip_adapter_is_part_of_what_is_read() -> None:
    pipe = tiny_pipe.with_ip_adapter()
    image = torch.randn(2, 1, 1, 16)
    _, run = sample(pipe, "<excite:cat>", ip_adapter_image_embeds=[image])
    assert [record.step for record in run.excited] == [0, 1]
    assert all(record.after["cat"] > record.scores["cat"] for record in run.excited)
    _, other = sample(pipe, "<excite:cat>", ip_adapter_image_embeds=[-image])
    assert other.excited[0].scores["cat"] != run.excited[0].scores["cat"]


def test_a_lora_is_followed() -> None:
    pipe = tiny_pipe.with_lora()
    _, run = sample(pipe, "<excite:cat>", cross_attention_kwargs={"scale": 0.7})
    assert all(record.after["cat"] > record.scores["cat"] for record in run.excited)
    _, without = sample(pipe, "<excite:cat>", cross_attention_kwargs={"scale": 0.0})
    assert without.excited[0].scores["cat"] != run.excited[0].scores["cat"]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_lora_has_its_own_scale_again_after_an_evaluation_that_ends_early(checkpointing: bool) -> None:
    pipe = tiny_pipe.with_lora()
    before = [dict(layer.scaling) for layer in pipe.unet.modules() if hasattr(layer, "scaling")]
    options = {"reading": Reading(checkpointing=checkpointing)}
    sample(pipe, "<excite:cat>", cross_attention_kwargs={"scale": 0.5}, options=options)
    after = [dict(layer.scaling) for layer in pipe.unet.modules() if hasattr(layer, "scaling")]
    assert before and after == before
