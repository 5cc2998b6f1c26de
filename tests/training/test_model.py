from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPTextModel

from training.compvis import TEXT, UNET, compvis_config, export_compvis, to_compvis
from training.denoiser import Denoiser, loss_weights, train_denoiser
from training.evaluate import rate, unseen_captions
from training.loop import Budget, LoopSettings, learning_rate
from training.networks import (
    FULL,
    PREDICTION,
    SCALING_FACTOR,
    TINY,
    make_noise_schedule,
    make_text_encoder,
    make_unet,
    make_vae,
)
from training.stages import Recipe, compare_snapshots, export, get_denoiser, get_tokenizer, get_vae, open_workshop
from training.tokenizer import build_tokenizer
from training.vae import fit_analytic_latent
from world.shapes.scenes import sample_scenes

CPU = torch.device("cpu")


def settings(steps: int, stop_at: int | None = None) -> LoopSettings:
    return LoopSettings(Budget(steps=steps), 1e-3, checkpoint_seconds=1e9, stop_at=stop_at)


def train(folder: Path, stop_at: int | None = None) -> Denoiser:
    folder.mkdir(exist_ok=True)
    return train_denoiser(folder, settings(4, stop_at), 4, CPU, 0, build_tokenizer(), TINY)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_resumed_training_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    half = train(tmp_path / "parts", stop_at=2)
    resumed = train(tmp_path / "parts")
    assert same(whole, resumed)
    assert not same(whole, half)


def test_learning_rate_warms_up_stays_and_ends_at_zero() -> None:
    rates = [learning_rate(step, 100, 1.0, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:71] == [1.0] * 61
    assert rates[85] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)


def test_a_run_may_change_its_length_until_the_rate_falls() -> None:
    short, long = ([learning_rate(step, steps, 1.0, 10) for step in range(70)] for steps in (100, 1000))
    assert short == long


@pytest.mark.parametrize("values", [{}, {"steps": 1, "minutes": 1.0}, {"steps": 0}, {"minutes": -1.0}])
def test_a_budget_is_steps_or_minutes_and_positive(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="budget"):
        Budget(**values)  # type: ignore[arg-type]  # options of several types


def test_recipe_survives_its_file() -> None:
    recipe = Recipe(Budget(steps=3), Budget(minutes=2.0), sizes=TINY)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe


def test_analytic_latents_are_white() -> None:
    from world.shapes.render import render

    pictures = 2 * render(sample_scenes(400, torch.Generator().manual_seed(5))) - 1
    latents = fit_analytic_latent(0, CPU)(pictures).movedim(1, -1).reshape(-1, 4)
    assert latents.mean(0).abs().max() < 0.1
    assert torch.allclose(torch.cov(latents[:, :3].T), torch.eye(3), atol=0.15)


def test_noise_hides_the_mean_of_a_picture_at_the_last_step() -> None:
    """The reason given in the code, in numbers: signal-to-noise of a picture's mean, in white latents and in scaled."""
    signal = make_noise_schedule().alphas_cumprod[-1].item() * 0.8**2
    assert signal / (1 / 256) == pytest.approx(0.76, abs=0.01)
    assert signal * SCALING_FACTOR**2 / (1 / 256) == pytest.approx(0.12, abs=0.01)


def test_weights_of_the_loss_are_those_of_the_picture_error() -> None:
    kept = make_noise_schedule().alphas_cumprod
    share, error = kept[600], torch.randn(3, generator=torch.Generator().manual_seed(0))
    latents, noise = SCALING_FACTOR * torch.randn(3), torch.randn(3)
    noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
    velocity = share.sqrt() * noise - (1 - share).sqrt() * latents + error
    off = share.sqrt() * noisy - (1 - share).sqrt() * velocity - latents
    snr = SCALING_FACTOR**2 * share / (1 - share)
    assert snr < 5
    counted = (snr + 1) * off.square() / SCALING_FACTOR**2
    assert torch.allclose(loss_weights(kept)[600] * error.square(), counted, rtol=1e-4)


def test_everything_from_nothing_to_a_pipeline_that_draws(tmp_path: Path) -> None:
    recipe = Recipe(Budget(steps=2), Budget(steps=2), vae_batch=4, denoiser_batch=4, sizes=TINY)
    shop = open_workshop(tmp_path, CPU, recipe)
    tokenizer, vae = get_tokenizer(shop), get_vae(shop)
    denoiser = get_denoiser(shop, tokenizer)
    comparison = compare_snapshots(shop, vae, tokenizer, 2, 2)
    assert set(comparison["rates"]) == {"70", "85", "100"}
    export(shop, vae, tokenizer, comparison["chosen"])

    pipeline = StableDiffusionPipeline.from_pretrained(shop.model, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.vae.config.scaling_factor == SCALING_FACTOR
    assert pipeline.scheduler.config.prediction_type == PREDICTION
    assert next(pipeline.unet.parameters()).dtype == torch.float32
    assert (
        next(iter(load_file(shop.model / "unet" / "diffusion_pytorch_model.safetensors").values())).dtype
        == torch.float16
    )
    assert all(key.startswith("text_model.") for key in load_file(shop.model / "text_encoder" / "model.safetensors"))
    ids = tokenizer(["a red star"], padding="max_length", max_length=77, return_tensors="pt").input_ids
    expected = denoiser.text_encoder(ids).last_hidden_state
    assert torch.allclose(pipeline.text_encoder(ids).last_hidden_state, expected, atol=0.02)
    image = pipeline("a red star", num_inference_steps=2, height=64, width=64, output_type="pt").images
    assert image.shape == (1, 3, 64, 64)

    weights, _ = export_compvis(shop.model, tmp_path / "compvis")
    both = load_file(weights)
    converted = convert_ldm_unet_checkpoint(dict(both), dict(pipeline.unet.config))
    again = make_unet(TINY).eval()
    again.load_state_dict(converted)
    noisy, context = torch.randn(2, 4, 16, 16), torch.randn(2, 77, TINY.context)
    times = torch.tensor([10, 900])
    with torch.no_grad():
        assert torch.allclose(
            again(noisy, times, context).sample, pipeline.unet(noisy, times, context).sample, atol=1e-5
        )
    text = CLIPTextModel.from_pretrained(shop.model / "text_encoder")
    own = {key.removeprefix("text_model."): value for key, value in text.state_dict().items()}
    for key, value in own.items():
        assert torch.equal(both[TEXT + "text_model." + key].float(), value.float())


def test_compvis_names_convert_back_at_full_size() -> None:
    unet, vae = make_unet(FULL).eval(), make_vae(FULL).eval()
    names = to_compvis(unet, vae, make_text_encoder(build_tokenizer(), TINY))
    again_unet, again_vae = make_unet(FULL), make_vae(FULL)
    again_unet.load_state_dict(convert_ldm_unet_checkpoint(dict(names), dict(unet.config)))
    again_vae.load_state_dict(convert_ldm_vae_checkpoint(dict(names), dict(vae.config)))
    assert same(unet, again_unet)
    assert same(vae, again_vae)


def test_the_original_unet_code_predicts_the_same_noise() -> None:
    openaimodel = pytest.importorskip(
        "ldm.modules.diffusionmodules.openaimodel", reason="the package stable-diffusion-sdkit is not installed"
    )
    unet, vae = make_unet(FULL).eval(), make_vae(FULL)
    text = make_text_encoder(build_tokenizer(), FULL)
    params = compvis_config(unet, vae, text, PREDICTION)["model"]["params"]["unet_config"]["params"]
    original = openaimodel.UNetModel(**params).eval()
    weights = to_compvis(unet, vae, text)
    original.load_state_dict({k.removeprefix(UNET): v for k, v in weights.items() if k.startswith(UNET)})
    noisy, context, times = torch.randn(2, 4, 16, 16), torch.randn(2, 77, FULL.context), torch.tensor([10, 900])
    with torch.no_grad():
        difference = original(noisy, times, context) - unet(noisy, times, context).sample
    assert difference.abs().max() < 1e-5


def test_the_full_model_fits() -> None:
    parts = (make_unet(FULL), make_vae(FULL), make_text_encoder(build_tokenizer(), FULL))
    assert sum(p.numel() for part in parts for p in part.parameters()) * 2 < 24.5e6


def test_unseen_captions_ask_for_what_they_say() -> None:
    for asked in unseen_captions(2, 20, 1, background=True):
        for wanted in asked.wanted:
            assert f"{wanted.colour} {wanted.shape}" in asked.prompt
        assert f"{asked.tone} " in asked.prompt


def test_rates_carry_wilson_intervals() -> None:
    found = rate(9, 10)
    assert (found.low, found.high) == (pytest.approx(0.596, abs=1e-3), pytest.approx(0.982, abs=1e-3))
    assert rate(0, 0).n == 0
