"""The diffusers host on whole pipelines: what it does, what it leaves alone, and that nothing of it stays."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    ControlNetModel,
    PNDMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPAGPipeline,
)
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

from lib_ebca import ContextUpdate, Edit, Plan
from lib_ebca.hosts.diffusers import HostError, encoded, energy_attention, executed_steps
from lib_ebca.hosts.unet import cross_attention_layers
from lib_ebca.words import WordError
from tests import tiny_pipe

BCU = Plan(update=ContextUpdate(0.05, 0.1))
FULL = Plan.from_text("<bcu:0.05:0.1> <edit:dog:0.5:attn=0.01> <edit:castle:-0.3:from=0.5> <boost:cat:2>")
STEPS = 4


@pytest.fixture(scope="module", params=["sd1", "sd2", "sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return getattr(tiny_pipe, request.param)()


@pytest.fixture(scope="module")
def sd1() -> Any:
    return tiny_pipe.sd1()


def sample(
    pipe: Any, plan: Plan | list[Plan], prompt: Any = "a cat on a sofa", seeds: tuple[int, ...] = (0,), **asked: Any
) -> Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    asked.setdefault("negative_prompt", "" if isinstance(prompt, str) else [""] * len(prompt))
    with energy_attention(pipe, plan, **asked.pop("options", {})):
        result = pipe(prompt, num_inference_steps=STEPS, output_type="latent", generator=generators, **asked)
    return result.images


def fingerprint(pipe: Any) -> list[object]:
    """The identity of everything that the host could have touched."""
    found: list[object] = [dict(vars(pipe)), list(pipe.unet._forward_pre_hooks), list(pipe.unet._forward_hooks)]
    for _, module in cross_attention_layers(pipe.unet):
        found.append((id(module.processor), sorted(vars(module)), [id(value) for value in vars(module).values()]))
    return found


def test_an_inactive_plan_touches_nothing(pipe: Any) -> None:
    before = fingerprint(pipe)
    with energy_attention(pipe, Plan()):
        assert fingerprint(pipe)[1:] == before[1:]
        assert "encode_prompt" not in vars(pipe)
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
        assert not torch.allclose(plain, sample(pipe, Plan.from_text(text)), atol=1e-4), text
    boosted = sample(pipe, Plan.from_text("<bcu:0.05:0.1><boost:cat:3>"))
    assert not torch.allclose(boosted, sample(pipe, BCU), atol=1e-5)


def test_a_picture_does_not_depend_on_its_neighbours(pipe: Any) -> None:
    plans = [FULL, Plan(), Plan.from_text("<edit:sofa:0.4:until=0.5>")]
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


def test_image_to_image_and_inpainting(sd1: Any) -> None:
    parts = {**sd1.components, "requires_safety_checker": False}
    picture, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1
    changing = tiny_pipe.quiet(StableDiffusionImg2ImgPipeline(**parts))
    painting = tiny_pipe.quiet(StableDiffusionInpaintPipeline(**parts))
    nine = tiny_pipe.quiet(StableDiffusionInpaintPipeline(**{**parts, "unet": tiny_pipe.unet(in_channels=9)}))
    for pipe, asked in (
        (changing, {"image": picture, "strength": 0.5}),
        (painting, {"image": picture, "mask_image": mask, "strength": 0.75}),
        (nine, {"image": picture, "mask_image": mask}),
    ):
        size: dict[str, Any] = {} if "mask_image" not in asked else {"height": 16, "width": 16}
        plain, changed = sample(pipe, Plan(), **asked, **size), sample(pipe, FULL, **asked, **size)
        assert not torch.allclose(plain, changed, atol=1e-5)


def test_the_clock_runs_over_the_executed_steps(sd1: Any) -> None:
    changing = tiny_pipe.quiet(StableDiffusionImg2ImgPipeline(**sd1.components, requires_safety_checker=False))
    picture = torch.rand(1, 3, 16, 16)
    with energy_attention(changing, BCU):
        changing("a cat", image=picture, strength=0.5, num_inference_steps=8, output_type="latent")
        assert executed_steps(changing) == 4


def test_pndm_evaluates_once_more_than_it_steps(sd1: Any) -> None:
    found = sd1.scheduler
    sd1.scheduler = PNDMScheduler.from_config(found.config, skip_prk_steps=True)
    try:
        with energy_attention(sd1, BCU, record_energies=True) as run:
            sd1("a cat", num_inference_steps=STEPS, output_type="latent")
            assert executed_steps(sd1) == STEPS
        assert {record.step for record in run.energies} == set(range(STEPS + 1))
    finally:
        sd1.scheduler = found


def test_inpainting_models_bring_their_own_mask() -> None:
    pipe = tiny_pipe.quiet(
        StableDiffusionInpaintPipeline(**{**tiny_pipe.parts_sd1(in_channels=9), "requires_safety_checker": False})
    )
    picture, mask = torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., 8:] = 1
    asked: dict[str, Any] = {"image": picture, "mask_image": mask, "height": 16, "width": 16}
    own = sample(pipe, BCU, **asked)
    given = sample(pipe, BCU, **asked, options={"mask": mask[0, 0, ::2, ::2]})
    everywhere = sample(pipe, BCU, **asked, options={"mask": torch.ones(8, 8)})
    assert torch.allclose(own, given, atol=1e-6)
    assert not torch.allclose(own, everywhere, atol=1e-5)


def test_controlnet(sd1: Any) -> None:
    torch.manual_seed(5)
    control = ControlNetModel.from_unet(
        sd1.unet, conditioning_channels=3, conditioning_embedding_out_channels=(8, 8)
    ).eval()
    pipe = tiny_pipe.quiet(
        StableDiffusionControlNetPipeline(**sd1.components, controlnet=control, requires_safety_checker=False)
    )
    asked: dict[str, Any] = {"image": torch.rand(1, 3, 16, 16)}
    assert not torch.allclose(sample(pipe, Plan(), **asked), sample(pipe, FULL, **asked), atol=1e-5)


def test_perturbed_guidance_adds_rows(sd1: Any) -> None:
    pipe = tiny_pipe.quiet(
        StableDiffusionPAGPipeline(**sd1.components, pag_applied_layers=["mid"], requires_safety_checker=False)
    )
    asked: dict[str, Any] = {"pag_scale": 2.0}
    with energy_attention(pipe, BCU) as run:
        pipe("a cat", num_inference_steps=1, output_type="latent", **asked)
    assert not run.comments
    assert not torch.allclose(sample(pipe, Plan(), **asked), sample(pipe, BCU, **asked), atol=1e-5)


def test_an_unfused_lora_counts_in_the_update() -> None:
    from peft import LoraConfig

    def pipe_with_lora() -> Any:
        pipe = tiny_pipe.sd1()
        torch.manual_seed(9)
        pipe.unet.add_adapter(
            LoraConfig(r=2, lora_alpha=8, init_lora_weights=False, target_modules=["to_k", "to_q", "to_v"])
        )
        return pipe

    unfused, fused = pipe_with_lora(), pipe_with_lora()
    fused.fuse_lora()
    wanted = sample(fused, FULL)
    assert torch.allclose(sample(unfused, FULL), wanted, atol=2e-4)
    assert not torch.allclose(sample(tiny_pipe.sd1(), FULL), wanted, atol=1e-3)


def test_ip_adapter_keeps_its_picture() -> None:
    pipe = tiny_pipe.sd1()
    _load_ip_adapter(pipe.unet)
    images = [torch.randn(2, 1, 1, 16)]
    plain, changed = (sample(pipe, plan, ip_adapter_image_embeds=images) for plan in (Plan(), FULL))
    other = sample(pipe, FULL, ip_adapter_image_embeds=[-images[0]])
    assert not torch.allclose(plain, changed, atol=1e-5)
    assert not torch.allclose(other, changed, atol=1e-5)


def _load_ip_adapter(unet: Any) -> None:
    torch.manual_seed(11)
    width = unet.config.cross_attention_dim
    weights: dict[str, Tensor] = {}
    names = [name.removesuffix(".processor") for name in unet.attn_processors if "attn2" in name]
    for number, name in enumerate(names):
        module = unet.get_submodule(name)
        for kind in ("k", "v"):
            weights[f"{2 * number + 1}.to_{kind}_ip.weight"] = torch.randn(module.inner_dim, width)
    projection = {
        "proj.weight": torch.randn(4 * width, 16),
        "proj.bias": torch.zeros(4 * width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
    }
    unet._load_ip_adapter_weights([{"image_proj": projection, "ip_adapter": weights}])


def test_a_boost_of_a_word_that_is_not_there(pipe: Any) -> None:
    with pytest.raises(WordError, match="horse"):
        sample(pipe, Plan.from_text("<bcu><boost:horse:2>"))


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
        sd1("a cat", num_inference_steps=1, output_type="latent")
        assert torch.equal(sd1.unet(latent, 1, context).sample, stock)
    assert run.comments == [
        "EBCA was not applied: the UNet was called outside a call of the pipeline.",
        "EBCA was not applied: the UNet got 5 rows for 1 pictures.",
    ]
