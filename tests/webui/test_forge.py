"""The extension on Forge: its patcher, its marks, its text engines, and what it does otherwise than AUTOMATIC1111."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.hosts import tiny_forge
from tests.webui.asked import FULL, LONG, Stop, at, close, complaints
from tests.webui.host import forge_model, network

PLAIN = "a cat on a sofa"


@pytest.fixture(autouse=True)
def forge(host: Any) -> None:
    host.shared.sd_model = forge_model()


def shadows(host: Any) -> bool:
    return not host.clean()


@pytest.mark.parametrize("args", [None, [True], [{"edits": [{"text": "dog"}], "enabled": True}]])
def test_it_acts_and_leaves_nothing(host: Any, args: list[Any] | None) -> None:
    plain = host.make(prompt=PLAIN)
    seen: list[bool] = []
    job = host.job(args, prompt=PLAIN if args else FULL, on_step=lambda _: seen.append(shadows(host)))
    result = host.processing.process_images(job)
    assert not close(result.images[0], plain[0])
    assert all(seen)
    assert host.clean(job.sampler)
    assert not complaints(job)
    assert "EBCA" in str(result.infotexts[0])
    assert not host.errors.reported
    assert torch.equal(host.make(prompt=PLAIN), plain)


def test_while_nothing_acts_the_picture_is_the_host_s(host: Any) -> None:
    plain = host.make(prompt=PLAIN, batch_size=2)
    assert torch.equal(host.make(prompt=f"{PLAIN} <bcu:0:0> <edit:dog:0>", batch_size=2), plain)


def test_a_model_of_reforge_gives_the_same(host: Any) -> None:
    pictures = host.make(prompt=FULL)
    host.shared.sd_model = forge_model(host=tiny_forge.REFORGE)
    assert close(host.make(prompt=FULL), pictures)


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_batch_is_its_pictures_alone_however_its_calls_are_split(host: Any, chunks: int) -> None:
    asked: dict[str, Any] = {"prompt": ["a cat <edit:dog:0.6>", "castle"], "batch_size": 2}
    both = host.make(**asked)
    host.shared.opts.chunks = chunks
    assert close(host.make(**asked), both)
    assert close(host.make(prompt="a cat <edit:dog:0.6>", seed=1)[0], both[0])
    assert close(host.make(prompt="castle", seed=2)[0], both[1])


def test_each_part_of_an_and_has_its_own_directives(host: Any) -> None:
    """The host sends the last part first."""
    boosted = [host.make(prompt=f"a cat AND a castle <bcu:0.05:0> <boost:{word}:4>") for word in ("cat", "castle")]
    swapped = [host.make(prompt=f"a castle AND a cat <bcu:0.05:0> <boost:{word}:4>") for word in ("cat", "castle")]
    assert not close(*boosted)
    # The unconditional rows go with the first part, whose boosts are none of theirs.
    assert close(boosted[0], swapped[0]) and close(boosted[1], swapped[1])


def test_a_longer_prompt_than_the_negative_one(host: Any) -> None:
    """They share calls by repetition, and are as in calls of their own."""
    together = host.make(prompt=f"{LONG} <bcu:0.05:0.1> <edit:dog:0.5:norm=0.1>")
    host.shared.opts.chunks = 1
    assert close(host.make(prompt=f"{LONG} <bcu:0.05:0.1> <edit:dog:0.5:norm=0.1>"), together)


def test_without_guidance_there_are_no_unconditional_rows(host: Any) -> None:
    plain = host.make(prompt=PLAIN, cfg_scale=1.0)
    assert not close(host.make(prompt=FULL, cfg_scale=1.0), plain)


def test_the_hook_before_sampling_comes_twice_for_hires(host: Any) -> None:
    plain = host.make(prompt=PLAIN, enable_hr=True)
    job = host.job(prompt=FULL, enable_hr=True)
    assert not close(host.processing.process_images(job).images[0], plain[0])
    assert host.clean(job.sampler)


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_an_error_leaves_nothing(host: Any, error: type[BaseException]) -> None:
    job = host.job(prompt=FULL, on_step=at(2, error))
    with pytest.raises(error):
        host.processing.process_images(job)
    assert host.clean(job.sampler)


def test_an_interruption_gives_what_there_is(host: Any) -> None:
    from modules.sd_samplers_common import InterruptedException

    job = host.job(prompt=FULL, on_step=at(2, InterruptedException))
    assert host.processing.process_images(job).images
    assert host.clean(job.sampler)


class Extension:
    """Patches the patcher's clone in every pass, before us or after us."""

    def __init__(self, host: Any, patch: Any) -> None:
        class Script(host.scripts.Script):
            def title(self) -> str:
                return "another"

            def ui(self, is_img2img: bool) -> list[Any]:
                return []

            def process_before_every_sampling(self, p: Any, *args: Any, **keywords: Any) -> None:
                patcher = p.sd_model.forge_objects.unet.clone()
                patch(patcher)
                p.sd_model.forge_objects.unet = patcher

        self.script = Script()
        host.runner.alwayson_scripts.insert(0, self.script)


def test_another_extension_s_replacement_acts_on_the_edits_too(host: Any) -> None:
    plain, alone = host.make(prompt=PLAIN), host.make(prompt=FULL)

    def pictured(query: Tensor, key: Tensor, value: Tensor, extra: dict[str, Any]) -> Tensor:
        assert query.shape[0] == len(extra["cond_or_uncond"]) * len(extra["sigmas"])
        return query * 0.05 + value.mean(1, keepdim=True)

    seen: list[Any] = []

    def patch(patcher: Any) -> None:
        patcher.replace(("input", 1), pictured)
        seen.append(patcher)

    Extension(host, patch)
    theirs, both = host.make(prompt=PLAIN), host.make(prompt=FULL)
    assert not close(theirs, plain) and not close(both, theirs) and not close(both, alone)
    assert seen[-1].model_options["transformer_options"]["patches_replace"]["attn2"] == {("input", 1): pictured}


def test_prompts_by_region_are_told(host: Any) -> None:
    def by_region(x: Tensor, context: Tensor, value: Tensor, extra: Any) -> tuple[Tensor, Tensor, Tensor]:
        return torch.cat([x, x]), torch.cat([context, context * 0.5]), torch.cat([value, value])

    def patch(patcher: Any) -> None:
        patcher.patch("attn2_patch", by_region)
        patcher.patch("attn2_output_patch", lambda output, extra: output.unflatten(0, (2, -1)).mean(0))

    Extension(host, patch)
    plain = host.make(prompt=PLAIN)
    job = host.job(prompt=FULL)
    assert torch.equal(host.processing.process_images(job).images[0], plain[0])
    assert [*job.comments] == [
        "EBCA was not applied: another extension gives the layers rows of its own, as prompts by region do."
    ]


def tiled(apply_model: Any, arguments: Any) -> Tensor:
    """Each half of the picture, the whole batch again for each; the marks stay."""
    x, c = arguments["input"], arguments["c"]
    halves = torch.cat(x.chunk(2, dim=3))
    output = apply_model(
        halves,
        arguments["timestep"].repeat(2),
        c_crossattn=c["c_crossattn"].repeat(2, 1, 1),
        transformer_options=c["transformer_options"],
    )
    return torch.cat(output.chunk(2), dim=3)


def test_tiles_are_served_without_a_mask_and_told_with_one(host: Any) -> None:
    Extension(host, lambda patcher: patcher.model_options.update(model_function_wrapper=tiled))
    plain = host.make(prompt=PLAIN)
    job = host.job(prompt=FULL)
    assert not close(host.processing.process_images(job).images[0], plain[0])
    assert not complaints(job)
    job = host.job(prompt=FULL, nmask=torch.ones(4, 6, 8))
    assert close(host.processing.process_images(job).images[0], plain[0])
    assert [*job.comments] == ["EBCA stopped: the picture is made in tiles, and its mask does not fit them."]


def test_a_mask_with_an_axis_for_the_batch_gates_the_update(host: Any) -> None:
    """Neo's is (1, C, H, W)."""
    asked: dict[str, Any] = {"prompt": "a cat <bcu:0.05:0.1>", "is_img2img": True}
    half = torch.zeros(4, 6, 8)
    half[:, :, :4] = 1
    everywhere, wanted = host.make(**asked), host.make(nmask=half, **asked)
    assert not close(wanted, everywhere)
    job = host.job(nmask=half[None], **asked)
    assert close(host.processing.process_images(job).images[0], wanted[0])
    assert close(host.make(nmask=torch.ones(1, 4, 6, 8), **asked), everywhere)
    assert not complaints(job)


def test_other_weights_in_the_same_modules_within_a_pass(host: Any) -> None:
    """A fast refiner: everything that was made of the old ones is made again."""
    other = network(forge_model(seed=7)).state_dict()

    def swap(step: int) -> None:
        if step == 2:
            network(host.shared.sd_model).load_state_dict(other)

    prompt = "a cat <bcu:0.05:0.1> <edit:dog:0.6>"
    swapped = host.make(prompt=prompt, on_step=swap)
    host.shared.sd_model = forge_model()
    for layer in network(host.shared.sd_model).modules():
        if isinstance(layer, tiny_forge.CrossAttention):
            layer.to_k = _Packed(layer.to_k)
    # Probed matrices and kept keys go the same way as weights that are read.
    assert close(host.make(prompt=prompt, on_step=lambda step: _swapped(host, other, step)), swapped)


class _Packed(nn.Module):
    """Shows nothing of its weight."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found

    @property
    def weight(self) -> Tensor:
        weight: Tensor = self.found.weight
        return weight.flatten()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.found(x)
        return output


def _swapped(host: Any, other: dict[str, Tensor], step: int) -> None:
    if step == 2:
        renamed = {name.replace("attn2.to_k.", "attn2.to_k.found."): value for name, value in other.items()}
        renamed = {name.replace("attn1.to_k.", "attn1.to_k.found."): value for name, value in renamed.items()}
        network(host.shared.sd_model).load_state_dict(renamed)


def test_neo_knows_no_old_scheduling(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import prompt_parser

    found = prompt_parser.get_learned_conditioning_prompt_schedules
    prompt = "a [cat:dog:0.5] <edit:[hat:shirt:0.5]:0.5> <boost:cat:2>"
    wanted = host.make(prompt=prompt)
    del host.shared.opts.data["use_old_scheduling"]
    seen: list[tuple[bool, ...]] = []

    def schedules(prompts: Any, base_steps: int, hires_steps: int | None = None, *old: bool) -> Any:
        seen.append(old)
        return found(prompts, base_steps, hires_steps, *old)

    monkeypatch.setattr(prompt_parser, "get_learned_conditioning_prompt_schedules", schedules)
    assert torch.equal(host.make(prompt=prompt), wanted)
    # The stand-in's own calls name it.
    assert () in seen


def test_sdxl_has_two_engines_and_a_vector(host: Any) -> None:
    host.shared.sd_model = forge_model(sdxl=True)
    plain = host.make(prompt=PLAIN)
    assert not close(host.make(prompt=FULL), plain)


def test_records_are_drawn(host: Any) -> None:
    job = host.job([{"enabled": True, "energies": True, "maps": True}], prompt=PLAIN)
    result = host.processing.process_images(job)
    assert any(isinstance(image, Image.Image) for image in result.images)


PHOTO = torch.rand(1, 4, 6, 8, generator=torch.Generator().manual_seed(2))


def subjects(host: Any, prompt: str, sampler: str = "Euler", **asked: Any) -> tuple[Any, Tensor]:
    job = host.job(prompt=prompt, is_img2img=sampler == "DDIM", sampler_name=sampler, init_latent=PHOTO, **asked)
    picture: Tensor = host.processing.process_images(job).images[0]
    return job, picture


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_subjects_move_the_latent_through_weights_of_inference_mode(host: Any, sampler: str) -> None:
    with torch.inference_mode():
        host.shared.sd_model = forge_model()
    found = [*network(host.shared.sd_model).parameters()]
    assert all(weight.is_inference() for weight in found)
    _, plain = subjects(host, "a cat and a castle", sampler)
    job, moved = subjects(host, "a cat and a castle <excite:cat:scale=3000:refine=off>", sampler)
    assert not close(moved, plain)
    assert any("Subjects: the latent was moved in" in comment for comment in job.comments)
    assert all(a is b for a, b in zip(found, network(host.shared.sd_model).parameters(), strict=True))


def test_chips_are_of_the_host_s_tokens(host: Any) -> None:
    from modules import sd_models

    from lib_ebca.webui import check

    sd_models.model_data.sd_model = host.shared.sd_model
    try:
        assert [chip["text"] for chip in check.checked("a cat <edit:dog:0.5>")["words"]] == ["cat"]
    finally:
        sd_models.model_data.sd_model = None


def test_models_without_cross_attention_pass_through_with_a_sentence(host: Any) -> None:
    class Flux(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, **_: Any) -> Tensor:
            return x * 0.1

    flux = SimpleNamespace(**vars(forge_model()))
    flux.forge_objects = flux.forge_objects_after_applying_lora = SimpleNamespace(
        unet=tiny_forge.Patcher(tiny_forge.Model(Flux()))
    )
    host.shared.sd_model = flux
    plain = host.make(prompt=PLAIN)
    job = host.job(prompt=FULL)
    result = host.processing.process_images(job)
    assert torch.equal(result.images[0], plain[0])
    assert [*job.comments] == [
        "EBCA was not applied: it serves Stable Diffusion 1, 2 and XL, and this model is of another kind."
    ]
    assert "EBCA" not in result.infotexts[0]
    job = host.job(prompt=PLAIN)
    host.processing.process_images(job)
    assert not complaints(job)
