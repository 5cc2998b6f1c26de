"""The checklist of traps of the WebUI, line by line: one test, or several, for each of its numbers."""

from __future__ import annotations

import contextlib
import copy
import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lib_ebca import DirectiveError, PlanError
from lib_ebca.hosts.ldm import cross_attention_layers
from tests.hosts import tiny_ldm
from tests.webui.host import model

ON = [True]
BCU = "a cat on a sofa <bcu:0.05:0.1>"
FULL = "a cat on a sofa <bcu:0.05:0.1> <edit:dog:0.6:attn=0.02> <edit:shirt:-0.3:from=0.5> <boost:cat:2>"
LONG = ", ".join(["castle"] * 50)


class Stop(Exception):
    """Injected."""


def at(step: int, error: type[BaseException]) -> Any:
    def fail(now: int) -> None:
        if now == step:
            raise error

    return fail


def close(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() < 1e-4 * max(1.0, float(b.abs().max())))


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_1_an_error_in_mid_sampling_leaves_nothing(host: Any, error: type[BaseException]) -> None:
    plain = host.make(prompt="a cat")
    job = host.job(prompt=FULL, on_step=at(2, error))
    with pytest.raises(error):
        host.processing.process_images(job)
    assert host.clean(job.sampler)
    assert torch.equal(host.make(prompt="a cat"), plain)


def test_2_off_is_bit_identical_to_never_having_been_there(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    without = host.processing.Processing(scripts=host.scripts.ScriptRunner(), prompt="a cat on a sofa")
    plain = host.processing.process_images(without).images[0]
    assert not torch.equal(host.make(prompt=FULL)[0], plain)
    from lib_ebca.webui import sampling

    monkeypatch.setattr(sampling.Pass, "conducted", None)
    job = host.job(prompt="a cat on a sofa")
    seen: list[bool] = []
    job.on_step = lambda step: seen.append(host.clean(job.sampler))
    assert torch.equal(host.processing.process_images(job).images[0], plain)
    assert seen == [True] * 4


def test_3_a_batch_of_two_with_and(host: Any) -> None:
    prompts = ["a cat AND a dog :0.5 AND sofa <bcu:0.05:0.1> <boost:dog:3>", "castle <edit:dog:0.5>"]
    together = host.make(prompt=prompts, batch_size=2)
    for index, prompt in enumerate(prompts):
        assert close(host.make(prompt=prompt, seed=1 + index)[0], together[index])
    assert not close(host.make(prompt="a cat AND a dog :0.5 AND sofa <bcu:0.05:0.1>")[0], together[0])


@pytest.mark.parametrize("option", ["", "pad_cond_uncond", "pad_cond_uncond_v0"])
@pytest.mark.parametrize("long_side", ["negative_prompt", "prompt"])
@pytest.mark.parametrize("batched", [True, False])
def test_4_sides_of_unequal_length(host: Any, option: str, long_side: str, batched: bool) -> None:
    if option:
        setattr(host.shared.opts, option, True)
    host.shared.opts.batch_cond_uncond = batched
    asked = {"prompt": FULL, "negative_prompt": "dog"}
    asked[long_side] = f"{asked[long_side]}, {LONG}"
    plain = host.make(prompt=asked["prompt"].split("<")[0], negative_prompt=asked["negative_prompt"])
    job = host.job(**asked)
    made = host.processing.process_images(job).images[0]
    assert not job.comments
    assert not close(made, plain[0])
    pair = host.make(prompt=[asked["prompt"], "castle"], negative_prompt=asked["negative_prompt"], batch_size=2)
    assert close(pair[0], made)


def test_5_conditional_and_unconditional_in_calls_of_their_own(host: Any) -> None:
    together = host.make(prompt=FULL, batch_size=2)
    host.shared.opts.batch_cond_uncond = False
    assert close(host.make(prompt=FULL, batch_size=2), together)


def test_6_unconditional_rows_left_out_early(host: Any) -> None:
    host.shared.opts.skip_early_cond = 0.5
    plain = host.make(prompt="a cat on a sofa")
    job = host.job(prompt=FULL)
    assert not close(host.processing.process_images(job).images[0], plain[0])
    assert not job.comments


def test_7_hires_with_another_prompt_size_sampler_and_checkpoint(host: Any) -> None:
    first, other = host.shared.sd_model, model(seed=9)
    asked: dict[str, Any] = {"enable_hr": True, "hr_sampler_name": "Heun", "hr_scale": 1.5, "hr_second_pass_steps": 3}
    plain = host.make(prompt="a cat", hr_prompt="castle", **asked)
    edited = host.make(prompt="a cat", hr_prompt="castle <edit:dog:0.5>", **asked)
    assert not close(edited[0], plain[0])
    host.shared.sd_model = first
    elsewhere = host.make(prompt="a cat", hr_prompt="castle <edit:dog:0.5>", hr_checkpoint=other, **asked)
    assert not close(elsewhere[0], edited[0])
    assert "dog" in other.cond_stage_model.texts
    assert host.clean()
    host.shared.sd_model = first


@pytest.mark.parametrize(("passes", "acts"), [("both passes", (1, 1)), ("first pass", (1, 0)), ("hires pass", (0, 1))])
def test_7_the_accordion_acts_in_the_passes_that_are_chosen(host: Any, passes: str, acts: tuple[int, int]) -> None:
    seen: list[bool] = []
    named = [{"passes": passes, "attn": 0.05}]
    job = host.job(named, prompt="a cat", enable_hr=True, on_step=lambda _: seen.append(not host.clean()))
    host.processing.process_images(job)
    assert seen == [bool(acts[0])] * 4 + [bool(acts[1])] * 4


def test_8_the_upscale_button_goes_straight_to_the_hires_pass(host: Any) -> None:
    latent = torch.randn(1, 4, 6, 8, generator=torch.Generator().manual_seed(4))
    plain = host.make(prompt="a cat", enable_hr=True, firstpass_image=latent)
    job = host.job(prompt="a cat <edit:dog:0.5>", enable_hr=True, firstpass_image=latent)
    assert not close(host.processing.process_images(job).images[0], plain[0])
    assert host.clean(job.sampler)


@pytest.mark.parametrize("allowed", [True, False])
def test_9_a_job_inside_a_job(host: Any, allowed: bool) -> None:
    """ADetailer: img2img on a txt2img picture, our script in its runner or not, odd hooks before and after."""
    script = host.runner.alwayson_scripts[0]
    inner_texts: list[str] = []

    class Detailer(host.scripts.Script):
        def title(self) -> str:
            return "ADetailer"

        def ui(self, is_img2img: bool) -> list[Any]:
            return []

        def postprocess_image(self, p: Any) -> None:
            script.postprocess(copy.copy(p), SimpleNamespace(images=[], infotexts=[]), *p.script_args)
            runner = copy.copy(host.runner)
            runner.alwayson_scripts = [script] if allowed else []
            inner = host.processing.Processing(
                scripts=runner, script_args=p.script_args, is_img2img=True, prompt=p.all_prompts[0], steps=4
            )
            host.processing.process_images(inner)
            inner_texts.extend(host.shared.sd_model.cond_stage_model.texts)
            again = copy.copy(p)
            script.process(again, *p.script_args[script.args_from : script.args_to])

    alone = host.make(prompt=FULL, n_iter=2)
    host.runner.alwayson_scripts.append(Detailer())
    made = host.make(prompt=FULL, n_iter=2)
    assert torch.equal(made, alone)
    assert not host.errors.reported
    assert not any("<edit" in text for text in inner_texts)
    from modules import extra_networks

    assert extra_networks.unknown == []


def test_10_xyz_axes_over_a_shared_dict(host: Any) -> None:
    options: list[Any] = []

    def axis(label: str, kind: Any, apply: Any, **more: Any) -> Any:
        return SimpleNamespace(label=label, apply=apply, type=kind, **more)

    grid = SimpleNamespace(axis_options=options, AxisOption=axis)
    script_class = type("Grid", (), {"__module__": "xyz_grid.py"})
    host.scripts.scripts_data = [SimpleNamespace(script_class=script_class, module=grid)]
    for _ in range(2):
        for callback in host.callbacks["before_ui"]:
            callback()
    labels = [option.label for option in options]
    assert len(labels) == len(set(labels)) > 50
    strength = next(option for option in options if option.label == "[EBCA] Edit 1 strength")
    base = host.job([{"attn": 0, "norm": 0, "edits": [{"text": "dog"}]}], prompt="a cat")
    cells = []
    for value in (0.3, 0.9, 0.3):
        cell = copy.copy(base)
        strength.apply(cell, value, [0.3, 0.9])
        result = host.processing.process_images(cell)
        assert result.infotexts[0]["EBCA"] == f"<edit:dog:{value}>"
        cells.append(result.images[0])
    assert torch.equal(cells[0], cells[2])
    assert not close(cells[0], cells[1])
    off = next(option for option in options if option.label == "[EBCA] Enabled")
    cell = copy.copy(base)
    off.apply(cell, "False", ["False"])
    result = host.processing.process_images(cell)
    assert "EBCA" not in result.infotexts[0]
    assert torch.equal(result.images[0], host.make(prompt="a cat")[0])


def test_11_one_job_used_again_for_the_next_picture(host: Any) -> None:
    """Loopback and img2img batch keep the processing object and change it."""
    job = host.job(prompt=FULL, is_img2img=True)
    first = host.processing.process_images(job).images[0]
    job.prompt, job.seed = "castle", 1
    plain = host.processing.process_images(job)
    assert torch.equal(plain.images[0], host.make(prompt="castle", is_img2img=True)[0])
    assert "EBCA" not in plain.infotexts[0]
    job.prompt = FULL
    assert torch.equal(host.processing.process_images(job).images[0], first)


@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_12_the_api_with_any_number_of_arguments(host: Any, count: int) -> None:
    from lib_ebca.webui.form import Form

    args = [True, 0.05, 0.1, 0.0, 1.0, *Form().to_args()[5:], *[1] * 200][:count]
    result = host.processing.process_images(host.job(args, prompt="a cat"))
    wanted = {0: None, 1: "<bcu:0.01:0.02>", 3: "<bcu:0.05:0.1>", 200: "<bcu:0.05:0.1>"}[count]
    assert result.infotexts[0].get("EBCA") == wanted


def test_12_the_api_with_names(host: Any) -> None:
    named = [{"attn": 0.05, "norm": 0.0, "boosts": "cat:2", "edits": [{"text": "dog", "strength": 0.4, "from": 0.5}]}]
    result = host.processing.process_images(host.job(named, prompt="a cat"))
    assert result.infotexts[0]["EBCA"] == "<bcu:0.05:0> <edit:dog:0.4:from=0.5> <boost:cat:2>"
    with pytest.raises(PlanError, match="strenght"):
        host.make([{"edits": [{"text": "dog", "strenght": 1}]}], prompt="a cat")
    with pytest.raises(PlanError, match="gamma"):
        host.make([{"gamma": 1}], prompt="a cat")


def test_13_reload_ui_twice(host: Any) -> None:
    made = host.make(prompt=FULL)
    for _ in range(2):
        host.load_scripts()
    assert {name: len(callbacks) for name, callbacks in host.callbacks.items()} == {
        "ui_settings": 1,
        "before_ui": 2,
        "app_started": 1,
    }
    assert torch.equal(host.make(prompt=FULL), made)


def test_14_another_model_and_back(host: Any) -> None:
    first, other = host.shared.sd_model, model(seed=3, sdxl=True)
    made = host.make(prompt=FULL)
    host.shared.sd_model = other
    elsewhere = host.make(prompt=FULL)
    assert not close(elsewhere[0], made[0])
    assert host.clean()
    host.shared.sd_model = first
    assert torch.equal(host.make(prompt=FULL), made)


def test_15_the_refiner_takes_over(host: Any) -> None:
    first, other = host.shared.sd_model, model(seed=3)

    def switch(step: int) -> None:
        if step == 2:
            host.shared.sd_model = other

    job = host.job(prompt=FULL, on_step=switch)
    host.processing.process_images(job)
    assert [comment for comment in job.comments if "refiner" in comment]
    assert host.clean()
    host.shared.sd_model = first
    assert host.clean()


def test_16_a_lora_switched_between_batches(host: Any) -> None:
    """The host merges a LoRA into the weights when a layer first runs; editorial prompts are encoded anew with it."""
    layers: list[Any] = [module for _, module in cross_attention_layers(host.shared.sd_model.model.diffusion_model)]
    made = host.make(prompt="a cat <edit:dog:0.5> <bcu:0.05:0.1>")
    count = len(host.shared.sd_model.cond_stage_model.texts)
    with torch.no_grad():
        for layer in layers:
            layer.to_k.weight += 0.1 * torch.randn(layer.to_k.weight.shape, generator=torch.Generator().manual_seed(1))
    changed = host.make(prompt="a cat <edit:dog:0.5> <bcu:0.05:0.1> <lora:x:1>")
    assert "dog" in host.shared.sd_model.cond_stage_model.texts[count:]
    assert not close(changed[0], made[0])


def test_16_a_lora_that_is_never_merged(host: Any) -> None:
    linear: Any = nn.Linear
    original = linear.forward
    layers: set[Any] = {module.to_k for _, module in cross_attention_layers(host.shared.sd_model.model.diffusion_model)}

    def patched(self: Any, states: Tensor) -> Tensor:
        output: Tensor = original(self, states)
        return output * 1.5 if self in layers else output

    host.shared.opts.lora_functional = True
    linear.forward = patched
    try:
        on_the_fly = host.make(prompt=BCU)
    finally:
        linear.forward = original
    host.shared.opts.lora_functional = False
    with torch.no_grad():
        for layer in layers:
            layer.weight *= 1.5
    assert close(on_the_fly[0], host.make(prompt=BCU)[0])


def test_17_weights_stored_in_eight_bits(host: Any) -> None:
    """The host keeps weights in float8 and casts them when a layer runs."""
    linear: Any = nn.Linear
    original = linear.forward
    unet = host.shared.sd_model.model.diffusion_model
    stored: list[Any] = [
        module for _, attention in cross_attention_layers(unet) for module in (attention.to_k, attention.to_v)
    ]
    for module in stored:
        module.weight.data = module.weight.data.to(torch.float8_e4m3fn)

    def patched(self: Any, states: Tensor) -> Tensor:
        return nn.functional.linear(states, self.weight.to(states.dtype), self.bias)

    linear.forward = patched
    try:
        job = host.job(prompt=FULL)
        made = host.processing.process_images(job).images[0]
    finally:
        linear.forward = original
    assert not job.comments
    for module in stored:
        module.weight.data = module.weight.data.float()
    assert close(made, host.make(prompt=FULL)[0])


def test_17_weights_that_arrive_when_a_block_runs(host: Any) -> None:
    """medvram and lowvram move a block's weights in a forward pre-hook of the block."""
    made = host.make(prompt=FULL)
    unet = host.shared.sd_model.model.diffusion_model
    block = unet.middle_block
    kept = {name: parameter.data for name, parameter in block.named_parameters()}
    for parameter in block.parameters():
        parameter.data = torch.empty(0)

    def bring(module: nn.Module, _: Any) -> None:
        for name, parameter in module.named_parameters():
            parameter.data = kept[name]

    handle = block.register_forward_pre_hook(bring)
    try:
        assert torch.equal(host.make(prompt=FULL), made)
    finally:
        handle.remove()


@pytest.mark.parametrize(
    "text",
    ["a dog, a cat", 'say: "meow"', "two\nlines", "(red:1.3) scarf", "犬と猫", r"a \: b", "x > y", "back\\slash"],
)
def test_18_infotext_there_and_back(host: Any, text: str) -> None:
    from lib_ebca.webui import infotext
    from lib_ebca.webui.form import FIELDS, Form

    named = [{"attn": 0.03, "boosts": "cat:2", "edits": [{"text": text, "strength": -0.25, "until": 0.5}]}]
    result = host.processing.process_images(host.job(named, prompt="a cat <edit:sofa:0.5>"))
    form = infotext.read(result.infotexts[0])
    assert form.enabled
    again = host.processing.process_images(host.job(form.to_args(), prompt="a cat <edit:sofa:0.5>"))
    assert torch.equal(again.images[0], result.images[0])
    assert again.infotexts == result.infotexts
    assert form.edits[0].text == text
    assert infotext.read({"Prompt": "a cat"}) == Form()
    assert infotext.pasted("enabled")({}) is False
    assert [infotext.pasted(name)(result.infotexts[0]) for name in FIELDS] == form.to_args()


def test_18_a_picture_made_with_directives_alone_leaves_the_accordion_off(host: Any) -> None:
    from lib_ebca.webui import infotext
    from lib_ebca.webui.form import Form

    result = host.processing.process_images(host.job(prompt=FULL))
    assert result.infotexts[0]["Prompt"] == FULL
    assert infotext.read(result.infotexts[0]) == Form()


def test_19_two_calls_before_one_pass(host: Any) -> None:
    job = host.job(prompt=FULL)
    script = host.runner.alwayson_scripts[0]
    original = job.before_sampling

    def twice(*args: Any) -> None:
        original(*args)
        script.process_before_every_sampling(job)

    made = host.make(prompt=FULL)
    job.before_sampling = twice
    assert torch.equal(host.processing.process_images(job).images[0], made[0])
    assert host.clean(job.sampler)


def test_19_a_sampler_that_somebody_else_wrapped_too(host: Any) -> None:
    made = host.make(prompt=FULL, is_img2img=True, n_iter=2)
    calls: list[int] = []
    job = host.job(prompt=FULL, is_img2img=True, n_iter=2)
    original = job.before_sampling

    def wrapping(*args: Any) -> None:
        original(*args)
        found = job.sampler.launch_sampling

        def counted(*more: Any) -> Any:
            calls.append(1)
            return found(*more)

        job.sampler.launch_sampling = counted

    job.before_sampling = wrapping
    assert torch.equal(torch.stack(host.processing.process_images(job).images), made)
    assert calls
    assert host.clean()


def test_20_a_model_of_another_kind(host: Any) -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
            return x * 0.1 + context.mean()

    host.shared.sd_model.model.diffusion_model = Other()
    plain = host.make(prompt="a cat")
    job = host.job(prompt="a cat <edit:dog:0.5>")
    assert torch.equal(host.processing.process_images(job).images[0], plain[0])
    assert any("another kind" in comment for comment in job.comments)
    silent = host.job(prompt="a cat")
    host.processing.process_images(silent)
    assert not silent.comments


def test_20_an_alternative_unet(host: Any) -> None:
    from modules import sd_unet

    plain = host.make(prompt="a cat")
    sd_unet.current_unet = object()
    job = host.job(prompt="a cat <edit:dog:0.5>")
    assert torch.equal(host.processing.process_images(job).images[0], plain[0])
    assert any("alternative UNet" in comment for comment in job.comments)


@pytest.mark.parametrize("button", ["interrupted", "skipped"])
def test_21_interrupted_and_then_used_again(host: Any, button: str) -> None:
    plain = host.make(prompt="castle")
    made = host.make(prompt=FULL)

    def press(step: int) -> None:
        if step == 1:
            setattr(host.shared.state, button, True)

    job = host.job(prompt=FULL, enable_hr=True, on_step=press)
    host.processing.process_images(job)
    assert host.clean(job.sampler)
    host.shared.state.interrupted = host.shared.state.skipped = False
    assert torch.equal(host.make(prompt="castle"), plain)
    assert torch.equal(host.make(prompt=FULL), made)


def test_22_guidance_of_one(host: Any) -> None:
    plain = host.make(prompt="a cat on a sofa", cfg_scale=1.0)
    assert not close(host.make(prompt=FULL, cfg_scale=1.0)[0], plain[0])


def test_23_boosts_at_the_ends_of_chunks_with_break_emphasis_and_inversions(host: Any) -> None:
    from lib_ebca.webui import tokens

    encoder = host.shared.sd_model.cond_stage_model
    prompt = f"(cat:1.3), {LONG} BREAK dog"
    (weights,) = tokens.boost_weights(encoder, [prompt], [boost("cat", 2.0), boost("dog", 3.0)])
    read = tokens.tokenised(encoder, prompt)
    assert len(weights) == len(read.tokens) == 77 * 3
    assert [row for row, weight in enumerate(weights) if weight != 1] == [1, 155]
    assert read.tokens[1].weight == 1.3
    encoder.embeddings = {"shirt": 2}
    (weights,) = tokens.boost_weights(encoder, ["a shirt, dog"], [boost("shirt", 2.0)])
    assert [row for row, weight in enumerate(weights) if weight != 1] == [2, 3]
    made, plain = host.make(prompt=f"{prompt} <boost:dog:3>"), host.make(prompt=f"{prompt} <bcu>")
    assert not torch.equal(made, plain)


def boost(word: str, factor: float) -> Any:
    from lib_ebca.plan import Boost

    return Boost(word, factor)


def test_a_faulty_directive_stops_the_job_and_is_quoted(host: Any) -> None:
    faulty: list[dict[str, Any]] = [{"prompt": "a cat <edit:dog>"}, {"prompt": ["a cat", "<edit:dog>"], "n_iter": 2}]
    encoded = list(host.shared.sd_model.cond_stage_model.texts)
    for asked in faulty:
        with pytest.raises(DirectiveError, match="<edit:dog>"):
            host.make(**asked)
        assert host.shared.sd_model.cond_stage_model.texts == encoded
    with pytest.raises(ValueError, match="negative prompt"):
        host.make(prompt="a cat", negative_prompt="<edit:dog:0.5>")
    with pytest.raises(ValueError, match="castle"):
        host.make(prompt="a cat <boost:castle:2>")
    assert host.clean()


def test_directives_never_reach_the_encoder_nor_the_tags(host: Any) -> None:
    job = host.job(prompt=f"{FULL} <edit:<lora:x:1> sofa:0.2>", enable_hr=True)
    host.processing.process_images(job)
    texts = host.shared.sd_model.cond_stage_model.texts
    assert " sofa" in texts
    assert not any("<" in text or "bcu" in text for text in texts)
    assert any("lora" in comment for comment in job.comments)
    from modules import extra_networks

    assert not {"edit", "bcu", "boost"} & set(extra_networks.unknown)


def test_the_setting_decides_whether_directives_act_without_the_checkbox(host: Any) -> None:
    from lib_ebca.webui import settings

    plain = host.make(prompt="a cat")
    host.shared.opts.data[settings.DIRECTIVES] = False
    job = host.job(prompt="a cat <edit:dog:0.5>")
    result = host.processing.process_images(job)
    assert torch.equal(result.images[0], plain[0])
    assert any("EBCA is off" in comment for comment in job.comments)
    assert "EBCA" not in result.infotexts[0]
    assert not close(host.make(ON, prompt="a cat <edit:dog:0.5>")[0], plain[0])


def test_every_picture_of_a_batch_has_its_own_plan(host: Any) -> None:
    prompts = ["a cat <edit:dog:0.5>", "a cat", "a cat <bcu:0.05:0.1>", "sofa <boost:sofa:2>"]
    together = host.make(prompt=prompts, batch_size=2, n_iter=2)
    for index, prompt in enumerate(prompts):
        assert close(host.make(prompt=prompt, seed=1 + index)[0], together[index])
    result = host.processing.process_images(host.job(prompt=prompts, batch_size=2, n_iter=2))
    assert [text.get("EBCA") for text in result.infotexts] == [
        "<edit:dog:0.5>",
        None,
        "<bcu:0.05:0.1>",
        "<boost:sofa:2>",
    ]


def test_scheduled_prompts_change_contexts_and_boosts_on_their_way(host: Any) -> None:
    plain = host.make(prompt="a [cat:dog:0.5] <edit:castle:0.5> <bcu:0.05:0.1>")
    staged = host.make(prompt="a [cat:dog:0.5] <edit:[castle:sofa:0.5]:0.5> <bcu:0.05:0.1>")
    boosted = host.make(prompt="a [cat:dog:0.5] <edit:castle:0.5> <bcu:0.05:0.1> <boost:dog:4>")
    assert not close(plain[0], staged[0])
    assert not close(plain[0], boosted[0])
    assert host.clean()


def test_the_inpainting_mask_gates_the_update(host: Any) -> None:
    asked: dict[str, Any] = {"prompt": BCU, "is_img2img": True}
    open_, half = torch.ones(4, 6, 8), torch.zeros(4, 6, 8)
    half[:, :, :4] = 1
    everywhere = host.make(**asked)
    assert close(host.make(nmask=open_, **asked)[0], everywhere[0])
    assert not close(host.make(nmask=half, **asked)[0], everywhere[0])


@pytest.mark.parametrize("trait", ["hypernetwork", "upcast"])
def test_a_host_that_does_more_than_attend_is_called_itself(host: Any, trait: str) -> None:
    fused = host.make(prompt=FULL)
    if trait == "upcast":
        host.shared.opts.upcast_attn = True
    else:
        host.shared.loaded_hypernetworks.append(object())
    assert close(host.make(prompt=FULL)[0], fused[0])


def test_another_extension_owns_a_layer(host: Any) -> None:
    """IP-Adapter replaces an instance's forward."""
    layers = cross_attention_layers(host.shared.sd_model.model.diffusion_model)
    module: Any = layers[3][1]
    original, calls = module.forward, []

    def theirs(*args: Any, **keywords: Any) -> Tensor:
        calls.append(1)
        output: Tensor = original(*args, **keywords)
        return output + 0.1

    module.forward = theirs
    try:
        plain = host.make(prompt="a cat on a sofa")
        made = host.make(prompt=FULL)
        assert vars(module)["forward"] is theirs
        assert len(calls) > 8
        assert not close(made[0], plain[0])
    finally:
        del module.forward


def test_a_network_that_runs_its_body_twice(host: Any) -> None:
    """ControlNet's reference sends a second picture through before the first."""
    unet = host.shared.sd_model.model.diffusion_model
    original = unet.forward
    made = host.make(prompt=FULL)

    def reference(x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        original(x.flip(0), timesteps, context=context)
        output: Tensor = original(x, timesteps, context=context)
        return output

    unet.forward = reference
    try:
        assert torch.equal(host.make(prompt=FULL), made)
    finally:
        del unet.forward


def test_rows_of_an_extension_of_another_make_stop_us_with_one_sentence(host: Any) -> None:
    """Tiles: the same step comes several times with more rows than it has."""
    unet = host.shared.sd_model.model.diffusion_model
    job = host.job(prompt=FULL)

    class Tiled(nn.Module):
        def __call__(self, x: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
            output: Tensor = unet(x.repeat(3, 1, 1, 1), timesteps.repeat(3), context=context.repeat(3, 1, 1))
            return output[: len(x)]

    network = host.processing.sampling.CFGDenoiser._network

    def tiled(self: Any, x: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        return Tiled()(x, torch.full((len(x),), float(sigma) * 60), context)

    host.processing.sampling.CFGDenoiser._network = tiled
    try:
        host.processing.process_images(job)
    finally:
        host.processing.sampling.CFGDenoiser._network = network
    assert [comment for comment in job.comments if "rows of its own" in comment]
    assert host.clean()


def test_records_come_after_the_pictures(host: Any) -> None:
    job = host.job([{"energies": True, "maps": True, "attn": 0.05}], prompt="a cat on a sofa", batch_size=2)
    result = host.processing.process_images(job)
    kinds = [type(image).__name__ for image in result.images]
    assert kinds[:2] == ["Tensor", "Tensor"]
    assert kinds[2:] == ["Image"] * 3
    assert len(result.infotexts) == len(result.images)


def test_records_with_the_two_sides_in_calls_of_their_own(host: Any) -> None:
    host.shared.opts.batch_cond_uncond = False
    result = host.processing.process_images(host.job([{"energies": True, "maps": True}], prompt="a cat", batch_size=2))
    assert len(result.images) == 5


@pytest.mark.parametrize("name", tiny_ldm.OPTIMISATIONS)
def test_an_optimisation_switched_between_jobs(host: Any, name: str) -> None:
    kind = tiny_ldm.attention_class()
    before = kind.forward
    made = host.make(prompt=FULL)
    kind.forward = tiny_ldm.OPTIMISATIONS[name]
    try:
        assert close(host.make(prompt=FULL)[0], made[0])
    finally:
        kind.forward = before
    assert torch.equal(host.make(prompt=FULL), made)


def test_a_hundred_odd_jobs_leave_the_next_plain_picture_alone(host: Any) -> None:
    plain = host.make(prompt="castle")
    generator = torch.Generator().manual_seed(0)

    def chance(of: int) -> int:
        return int(torch.randint(of, (1,), generator=generator))

    prompts = ["a cat", BCU, FULL, "a cat AND dog <edit:sofa:0.3>", f"{LONG} <bcu>", "a cat <edit:dog>"]
    for number in range(100):
        for option in ("batch_cond_uncond", "pad_cond_uncond", "pad_cond_uncond_v0", "upcast_attn"):
            setattr(host.shared.opts, option, bool(chance(2)))
        error = (None, Stop, KeyboardInterrupt, "interrupted")[chance(4)]

        def disturb(step: int, error: Any = error) -> None:
            if step == 1 and error == "interrupted":
                host.shared.state.interrupted = True
            elif step == 1 and error is not None:
                raise error

        with contextlib.suppress(Stop, KeyboardInterrupt, DirectiveError):
            host.make(
                ON if chance(2) else None,
                prompt=prompts[chance(len(prompts))],
                steps=2,
                batch_size=1 + chance(2),
                enable_hr=bool(chance(2)),
                is_img2img=False,
                on_step=disturb,
            )
        host.shared.state.interrupted = False
        assert host.clean(), number
    host.shared.reset()
    assert torch.equal(host.make(prompt="castle"), plain)


def test_pictures_do_not_depend_on_their_neighbours(host: Any) -> None:
    prompts = [FULL, "castle", BCU]
    for order in itertools.permutations(range(3), 3):
        batch = host.make(prompt=[prompts[i] for i in order], batch_size=3, seed=5)
        alone = host.make(prompt=prompts[order[0]], seed=5)
        assert close(batch[0], alone[0])
