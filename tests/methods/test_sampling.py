"""The WebUI's samplers and schedules against levels and latents recorded from k-diffusion 0.0.16, which it runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca.methods import sampling, sampling_timesteps
from lib_ebca.methods.noise_levels import SCHEDULES, NoiseTable, timesteps
from lib_ebca.methods.sampling import Answer, Conversation

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("k_diffusion.json").read_text(encoding="utf-8"))
TABLE = NoiseTable.of_betas(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)


def network(sample: Tensor, timestep: float) -> Tensor:
    return torch.tanh(2 * sample + timestep / 500)


def held(conversation: Conversation) -> Tensor:
    try:
        question = next(conversation)
        while True:
            question = conversation.send(Answer(network(question.sample, question.timestep)))
    except StopIteration as ended:
        return ended.value


def drawing() -> Callable[[Tensor, Tensor], Tensor]:
    noises = iter([torch.cos(torch.arange(4.0) * (k + 1)).reshape(1, 1, 2, 2) for k in range(40)])
    return lambda sigma, target: next(noises)


@pytest.mark.parametrize("name", RECORDED["sigmas"])
def test_levels_are_k_diffusions(name: str) -> None:
    torch.testing.assert_close(SCHEDULES[name](8, TABLE), torch.tensor(RECORDED["sigmas"][name]))


@pytest.mark.parametrize("name", RECORDED["latents"])
def test_latents_are_k_diffusions(name: str) -> None:
    sigmas = torch.tensor(RECORDED["sigmas"]["Karras"])
    start = torch.linspace(-1.5, 1.5, 4).reshape(1, 1, 2, 2) * sigmas[0]
    found = held(getattr(sampling, name)(start, sigmas, sampling.denoiser(TABLE), drawing()))
    torch.testing.assert_close(found.flatten(), torch.tensor(RECORDED["latents"][name]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SCHEDULES)
def test_levels_fall(name: str) -> None:
    assert bool((SCHEDULES[name](12, TABLE).diff() < 0).all())


def test_levels_and_timesteps_are_inverse() -> None:
    places = torch.linspace(0, 999, 37)
    torch.testing.assert_close(TABLE.timestep(TABLE.sigma(places)), places, rtol=0, atol=0.02)


@pytest.mark.parametrize("walk", [sampling_timesteps.ddim, sampling_timesteps.plms])
def test_where_the_noise_is_constant_every_sampler_takes_it_away(walk: Callable[..., Conversation]) -> None:
    picture, noise = torch.tensor([[[[0.3, -1.2]]]]), torch.tensor([[[[1.0, 0.5]]]])
    walked = timesteps(20)
    assert walked.tolist()[:2] == [1, 51] and len(walked) == 20
    alpha = TABLE.alphas_cumprod[walked[-1]]
    start = picture * alpha.sqrt() + noise * (1 - alpha).sqrt()
    over = walk(start, walked, TABLE, lambda latent: latent)
    unipc = sampling_timesteps.unipc(start, torch.tensor(0.952), 20, TABLE, lambda latent: latent)
    for conversation, end in ((over, 1), (unipc, 0)):
        try:
            next(conversation)
            while True:
                conversation.send(Answer(noise))
        except StopIteration as ended:
            last = TABLE.alphas_cumprod[end]
            expected = picture * last.sqrt() + noise * (1 - last).sqrt()
            torch.testing.assert_close(ended.value, expected, rtol=1e-4, atol=1e-4)


def test_where_the_network_was_shown_another_sample_it_takes_the_latents_place() -> None:
    latent, sigma, shown = torch.tensor([1.0, 2.0]), torch.tensor(2.0), torch.tensor([3.0, -1.0])
    asking = sampling.denoiser(TABLE)(latent, sigma)
    torch.testing.assert_close(next(asking).sample, latent / 5**0.5)
    with pytest.raises(StopIteration) as ended:
        asking.send(Answer(torch.tensor([0.5, 0.5]), shown))
    place, denoised = ended.value.value
    torch.testing.assert_close(place, shown * 5**0.5)
    torch.testing.assert_close(denoised, shown * 5**0.5 - 1.0)


@pytest.mark.parametrize(("order", "power"), [(o, p) for o in (2, 3) for p in range(o + 1)])
def test_unipc_integrates_powers_of_the_half_log_snr_exactly(order: int, power: int) -> None:
    """x_t / sigma_t = x_s / sigma_s + the integral of exp(lambda) x0(lambda): the corrector up to its order, the
    predictor of order 3 up to one less (that of order 2 is the published one half)."""
    lambdas = torch.tensor([-1.1, -0.6, 0.1, 0.5], dtype=torch.float64)
    alphas = torch.sigmoid(2 * lambdas).sqrt()
    levels = list(zip(alphas, (1 - alphas**2).sqrt(), strict=True))
    seen = list(lambdas[:-1, None] ** power)
    latent = torch.tensor([0.7], dtype=torch.float64)
    grid = torch.linspace(float(lambdas[-2]), float(lambdas[-1]), 200_001, dtype=torch.float64)
    gained = torch.trapezoid(grid.exp() * grid**power, grid)
    exact = levels[-1][1] * (latent / levels[-2][1] + gained)
    ahead, correct = sampling_timesteps._predicted(latent, seen, levels, order)
    torch.testing.assert_close(correct(lambdas[-1:] ** power), exact, rtol=1e-6, atol=1e-8)
    if power < order and (order == 3 or power == 0):
        torch.testing.assert_close(ahead, exact, rtol=1e-6, atol=1e-8)


def test_unipcs_lower_orders_are_the_published_halves() -> None:
    lambdas = torch.tensor([-0.6, 0.1, 0.5], dtype=torch.float64)
    alphas = torch.sigmoid(2 * lambdas).sqrt()
    levels = list(zip(alphas, (1 - alphas**2).sqrt(), strict=True))
    latent, step = torch.tensor([0.7], dtype=torch.float64), 0.4
    older, last, found = (torch.tensor([x], dtype=torch.float64) for x in (0.3, -0.2, 0.9))
    ddim = levels[-1][1] / levels[-2][1] * latent + alphas[-1] * (1 - math.exp(-step)) * last
    ahead, correct = sampling_timesteps._predicted(latent, [last], levels[1:], 1)
    torch.testing.assert_close(ahead, ddim)
    torch.testing.assert_close(correct(found), ddim + alphas[-1] * step * 0.5 * (found - last))
    ahead, _ = sampling_timesteps._predicted(latent, [older, last], levels, 2)
    slope = (older - last) / ((-0.6 - 0.1) / step)
    torch.testing.assert_close(ahead, ddim + alphas[-1] * step * 0.5 * slope)


def test_the_noise_of_dpmpp_sde_is_asked_for_between_levels_that_went_through_their_logarithms() -> None:
    """To the last bit: a Brownian path between neighbouring floats moves by the root of their distance."""
    sigmas = torch.tensor(RECORDED["sigmas"]["Karras"])
    asked: list[float] = []

    def draw(sigma: Tensor, target: Tensor) -> Tensor:
        asked.append(float(sigma))
        return torch.zeros(1)

    held(sampling.dpmpp_sde(torch.ones(1), sigmas, sampling.denoiser(TABLE), draw))
    through = sigmas[sigmas > 0][:-1].log().exp().tolist()
    assert through != sigmas[sigmas > 0][:-1].tolist()
    assert set(through) <= set(asked)


def test_a_velocity_says_the_noise() -> None:
    """v = sqrt(alpha) noise - sqrt(1 - alpha) x0, of a sample sqrt(alpha) x0 + sqrt(1 - alpha) noise."""
    picture, noise, alpha = torch.tensor([0.3, -1.2]), torch.tensor([1.0, 0.5]), 0.36
    sample, velocity = 0.6 * picture + 0.8 * noise, 0.6 * noise - 0.8 * picture
    torch.testing.assert_close(sampling.Evaluation(sample, 1.0, alpha).noise_of(velocity), noise)
    torch.testing.assert_close(sampling.Evaluation(0 * sample, 1.0, alpha).noise_of(velocity, sample), noise)


def test_unipcs_order_rises_from_one_and_falls_back_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[int] = []
    predicted = sampling_timesteps._predicted

    def watched(latent: Tensor, seen: Any, levels: Any, order: int) -> Any:
        orders.append(order)
        return predicted(latent, seen, levels, order)

    monkeypatch.setattr(sampling_timesteps, "_predicted", watched)
    held(sampling_timesteps.unipc(torch.ones(1, 1, 2, 2), torch.tensor(1.0), 6, TABLE, lambda latent: latent))
    assert orders == [1, 2, 3, 3, 2, 1]
