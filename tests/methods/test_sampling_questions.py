"""What samplers ask: as often as they should, at which levels, and for noise only where there is any to come."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import pytest
import torch
from torch import Tensor

from lib_ebca.methods import sampling, sampling_timesteps
from lib_ebca.methods.noise_levels import NoiseTable
from lib_ebca.methods.sampling import Answer, Conversation, Evaluation

TABLE = NoiseTable.of_betas(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)
SIGMAS = torch.tensor([14.0, 6.0, 3.0, 1.5, 0.5, 0.0])

ONCE, TWICE = len(SIGMAS) - 1, 2 * len(SIGMAS) - 3
"""Evaluations of a step, and of a step and its other half; the last step goes to zero at once."""


SAMPLERS = {
    sampling.euler: ONCE,
    sampling.euler_ancestral: ONCE,
    sampling.heun: TWICE,
    sampling.dpm2: TWICE,
    sampling.dpm2_ancestral: TWICE,
    sampling.dpmpp_2s_ancestral: TWICE,
    sampling.dpmpp_sde: TWICE,
    sampling.dpmpp_2m: ONCE,
    sampling.dpmpp_2m_sde: ONCE,
    sampling.dpmpp_2m_sde_heun: ONCE,
    sampling.dpmpp_3m_sde: ONCE,
    sampling.lcm: ONCE,
}


def asked(conversation: Conversation, noise: float = 0.25) -> tuple[list[Evaluation], Tensor]:
    """The questions of a sampler whose network always says the same, and its latent."""
    questions = []
    try:
        question = next(conversation)
        while True:
            questions.append(question)
            question = conversation.send(Answer(torch.full_like(question.sample, noise)))
    except StopIteration as ended:
        return questions, ended.value


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.__name__)
def test_nothing_is_asked_or_drawn_at_zero(sampler: Callable[..., Conversation]) -> None:
    drawn: list[tuple[float, float]] = []

    def draw(sigma: Tensor, target: Tensor) -> Tensor:
        drawn.append((float(sigma), float(target)))
        return torch.ones(2)

    questions, latent = asked(sampler(torch.tensor([1.0, -9.0]), SIGMAS, sampling.denoiser(TABLE), draw))
    assert len(questions) == SAMPLERS[sampler]
    assert all(sigma > target > 0 for sigma, target in drawn)
    assert all(0 < question.alpha_cumprod < 1 for question in questions)
    assert bool(latent.isfinite().all())
    assert questions[0].timestep == pytest.approx(TABLE.timestep(SIGMAS[0]).item())


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.__name__)
@pytest.mark.parametrize("sigmas", [SIGMAS, SIGMAS[:-1]], ids=["to zero", "to above it"])
def test_where_no_noise_is_seen_or_drawn_the_latent_stays(sampler: Callable[..., Conversation], sigmas: Tensor) -> None:
    """Also on the way to a level above zero, where KL Optimal ends."""
    start = torch.tensor([1.0, -9.0])
    walk = sampler(start, sigmas, sampling.denoiser(TABLE), lambda sigma, target: torch.zeros(2))
    torch.testing.assert_close(asked(walk, 0.0)[1], start)


def test_a_question_holds_the_level_in_three_forms() -> None:
    question = next(sampling.denoiser(TABLE)(torch.tensor([2.0]), torch.tensor(2.0)))
    assert question.alpha_cumprod == pytest.approx(1 / 5)
    assert question.timestep == pytest.approx(TABLE.timestep(torch.tensor(2.0)).item())
    torch.testing.assert_close(question.sample, torch.tensor([2.0 / 5**0.5]))


def test_what_is_not_to_change_is_put_back_into_the_denoised_picture() -> None:
    denoise = sampling.denoiser(TABLE, lambda picture: 0 * picture + 7)
    asking = denoise(torch.tensor([2.0]), torch.tensor(2.0))
    next(asking)
    with pytest.raises(StopIteration) as ended:
        asking.send(Answer(torch.tensor([0.5])))
    latent, denoised = ended.value.value
    assert (float(latent), float(denoised)) == (2.0, 7.0)


def test_lcm_is_the_picture_with_fresh_noise_of_each_level() -> None:
    """The network sees no noise: what is drawn adds up."""
    _, latent = asked(
        sampling.lcm(torch.tensor([2.0]), SIGMAS, sampling.denoiser(TABLE), lambda sigma, target: sigma.view(1)), 0.0
    )
    assert float(latent) == pytest.approx(2.0 + 14 * 6 + 6 * 3 + 3 * 1.5 + 1.5 * 0.5)


def test_an_ancestral_step_goes_down_and_up_to_its_target() -> None:
    for sigma, target in ((2.0, 1.0), (14.0, 6.0), (1.0, 0.99), (1.0, 0.0)):
        down, up = (float(each) for each in sampling.ancestral(torch.tensor(sigma), torch.tensor(target)))
        assert down**2 + up**2 == pytest.approx(target**2)
        assert up == pytest.approx(target * (1 - (target / sigma) ** 2) ** 0.5)
    # Upwards there is no way, and no number either.
    assert [float(each) for each in sampling.ancestral(torch.tensor(1.0), torch.tensor(2.0))] == [2.0, 0.0]


def test_unipc_asks_even_times_and_not_at_the_end() -> None:
    walk = sampling_timesteps.unipc(torch.ones(1, 1, 1, 2), torch.tensor(1.0), 4, TABLE, lambda latent: latent + 1)
    questions, _ = asked(walk)
    assert [each.timestep for each in questions] == pytest.approx([999.0, 749.25, 499.5, 249.75], abs=1e-3)
    cut = [int(each.timestep) for each in questions]
    assert [each.alpha_cumprod for each in questions] == [TABLE.alphas_cumprod[place].item() for place in cut]
    assert questions[0].sample.tolist() == [[[[2.0, 2.0]]]]


def test_unipc_knows_each_level_between_the_trained_ones() -> None:
    alphas = TABLE.alphas_cumprod
    between = (alphas[499] * alphas[500]).sqrt()
    places = (1 / 1000, 0), (2 / 1000, 1), (0.999, 998), (1.0, 999), (0.0, 0), (1.5, 999)
    expected = [*((time, alphas[place]) for time, place in places), (0.5005, between)]
    for time, alpha in expected:
        found, sigma = sampling_timesteps._level(torch.tensor(time, dtype=torch.float64), TABLE)
        torch.testing.assert_close(found.float(), alpha.sqrt(), rtol=1e-6, atol=0)
        torch.testing.assert_close(sigma.float(), (1 - alpha).sqrt(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("walk", "more"), [(sampling_timesteps.ddim, 0), (sampling_timesteps.plms, 1)])
def test_ddim_and_plms_ask_downwards_from_the_last(walk: Callable[..., Conversation], more: int) -> None:
    questions, _ = asked(
        walk(torch.ones(1, 1, 1, 1), torch.tensor([1, 251, 501, 751]), TABLE, lambda latent: 3 * latent)
    )
    assert [each.timestep for each in questions] == [751.0, *[501.0] * (1 + more), 251.0]
    assert [each.alpha_cumprod for each in questions] == [
        TABLE.alphas_cumprod[int(each.timestep)].item() for each in questions
    ]
    assert float(questions[0].sample) == 3.0


def test_plms_weighs_the_last_four_by_adams_and_bashforth() -> None:
    """Noises that are polynomials of the step, in a table whose steps are even: weights of order n foretell order n."""
    assert [sum(weights) for weights in sampling_timesteps._ADAMS_BASHFORTH] == pytest.approx([1.0] * 3)
    for weights in sampling_timesteps._ADAMS_BASHFORTH:
        for power in range(len(weights)):
            # The mean of t^power over the step from 0 to 1, of its values at 0, -1, -2 ...
            found = sum(weight * (-back) ** power for back, weight in enumerate(weights))
            assert found == pytest.approx(1 / (power + 1))


def test_what_a_sampler_was_shown_instead_takes_the_latents_place() -> None:
    """DDIM without noise: the shown sample is scaled from level to level."""
    walk = sampling_timesteps.ddim(torch.ones(1), torch.tensor([1, 501]), TABLE, lambda latent: latent)
    next(walk)
    with pytest.raises(StopIteration) as ended:
        walk.send(Answer(torch.zeros(1), torch.tensor([5.0])))
    alphas = TABLE.alphas_cumprod
    torch.testing.assert_close(ended.value.value, 5 * (alphas[[1]] / alphas[501]).sqrt())


def test_the_steps_of_a_constant_noise_add_up() -> None:
    sizes = list(accumulate(float(size) for size in SIGMAS.diff()))
    _, latent = asked(sampling.euler(torch.zeros(1), SIGMAS, sampling.denoiser(TABLE), lambda sigma, target: sigma))
    assert float(latent) == pytest.approx(0.25 * sizes[-1])
