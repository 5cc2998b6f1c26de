"""The samplers of AUTOMATIC1111's WebUI 1.10.1 by name, and the walk that each makes of a schedule."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from lib_ebca.methods import sampling, sampling_timesteps
from lib_ebca.methods.gpu_noise import GpuNoise
from lib_ebca.methods.noise_levels import SCHEDULES, ConsistencyTable, NoiseTable, align_your_steps, timesteps
from lib_ebca.methods.sampling import Answer, Conversation, Denoise, Draw

AUTOMATIC = "Automatic"
NAMES_OF_SCHEDULES = (AUTOMATIC, *SCHEDULES, "Beta")
Noise = Callable[[Sequence[int]], Tensor]
"""Gives the next normal tensor of a shape, float32 on the CPU."""


def _cpu_noise(seed: int) -> Noise:
    generator = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(tuple(shape), generator=generator)


NOISES: dict[str, Callable[[int], Noise]] = {"cpu": _cpu_noise, "nv": GpuNoise}
"""From a seed to the numbers that grow from it, by the WebUI's names of where they are drawn, in small letters."""


@dataclass(frozen=True)
class Sampler:
    """One of the WebUI's samplers.

    `walk` is its conversation over levels, or None for those over timesteps, which have no schedule. `schedule` is what
    Automatic means for it. `doubled`: the WebUI announces two evaluations for a step. `brownian`: its noise is that of
    a Brownian path. `discards`: it leaves out the level before the last.
    """

    name: str
    walk: Callable[[Tensor, Tensor, Denoise, Draw], Conversation] | None = None
    schedule: str = "Uniform"
    doubled: bool = False
    brownian: bool = False
    discards: bool = False


_ALL = (
    Sampler("DPM++ 2M", sampling.dpmpp_2m, "Karras"),
    Sampler("DPM++ SDE", sampling.dpmpp_sde, "Karras", doubled=True, brownian=True),
    Sampler("DPM++ 2M SDE", sampling.dpmpp_2m_sde, "Exponential", brownian=True),
    Sampler("DPM++ 2M SDE Heun", sampling.dpmpp_2m_sde_heun, "Exponential", brownian=True),
    Sampler("DPM++ 2S a", sampling.dpmpp_2s_ancestral, "Karras", doubled=True),
    Sampler("DPM++ 3M SDE", sampling.dpmpp_3m_sde, "Exponential", brownian=True, discards=True),
    Sampler("Euler a", sampling.euler_ancestral),
    Sampler("Euler", sampling.euler),
    Sampler("Heun", sampling.heun, doubled=True),
    Sampler("DPM2", sampling.dpm2, "Karras", doubled=True, discards=True),
    Sampler("DPM2 a", sampling.dpm2_ancestral, "Karras", doubled=True, discards=True),
    Sampler("LCM", sampling.lcm),
    Sampler("DDIM"),
    Sampler("PLMS"),
    Sampler("UniPC"),
)
SAMPLERS = {sampler.name: sampler for sampler in _ALL}
"""By the WebUI's names."""


_MOST_LEVELS = 100_000  # of a schedule; trained are a thousand


class WalkError(ValueError):
    """A pass cannot be walked with these steps at this strength."""


@dataclass(frozen=True, eq=False)
class Known:
    """A picture to start from.

    Args:
        latents: (B, C, H, W), scaled as the model expects.
        strength: the denoising strength, in (0, 1].
        repainted: (H, W) of 0 and 1, 1 where the picture is painted anew; None paints all of it.
        all_steps: whether the steps that were asked are all made, as in the hires pass, or the strength's part of them.
    """

    latents: Tensor
    strength: float
    repainted: Tensor | None = None
    all_steps: bool = False

    def steps(self, asked: int) -> tuple[int, int]:
        """The steps that the schedule is laid out for, and how many of them the walk makes, less one."""
        part = min(self.strength, 0.999)
        return (int(asked / part), asked - 1) if self.all_steps else (asked, int(part * asked))

    def kept(self, latents: Tensor) -> Tensor:
        """Latents in which what is not painted anew is the picture's."""
        if self.repainted is None:
            return latents
        return latents * self.repainted + self.latents * (1 - self.repainted)


@dataclass(frozen=True, eq=False)
class Walk:
    """A pass that is about to begin.

    Args:
        conversation: with the network; what it returns is the finished latent.
        timesteps: at which it will ask.
        announced: how many evaluations the WebUI announces, by which it tells what part of a pass is done.
        doubled: whether every second evaluation is, to the WebUI, the second half of a step.
    """

    conversation: Conversation
    timesteps: tuple[float, ...]
    announced: int
    doubled: bool = False


def walk(
    name: str,
    schedule: str,
    steps: int,
    noise: Tensor,
    table: NoiseTable,
    draw: Callable[[], Tensor],
    *,
    seeds: Sequence[int],
    known: Known | None = None,
    xl: bool = False,
    source: Callable[[int], Noise] = _cpu_noise,
) -> Walk:
    """The pass of a sampler, as the WebUI makes it.

    Args:
        name: of SAMPLERS.
        schedule: of NAMES_OF_SCHEDULES; DDIM, PLMS and UniPC take no notice of it.
        steps: as asked.
        noise: (B, C, H, W), normal: the first of each picture.
        table: the model's.
        draw: gives the next noise of each picture, (B, C, H, W).
        seeds: one for each picture; Brownian paths grow from them.
        known: the picture to start from, or None.
        xl: whether the model is SDXL, for Align Your Steps.
        source: of NOISES, for the Brownian paths.

    Raises:
        WalkError: there are too few steps for the walk, or too many for a schedule.
    """
    sampler = SAMPLERS[name]
    if sampler.walk is None:
        return _over_timesteps(sampler, steps, noise, table, known)
    if name == "LCM":
        table = ConsistencyTable.within(table)
    laid_out, executed = _laid_out(steps, known, _MOST_LEVELS)
    sigmas = levels(sampler, schedule, laid_out, table, xl)
    taken = sigmas[laid_out - executed - 1 :]
    if len(taken) < 2:
        raise WalkError(f"{executed + 1} steps of {laid_out} leave nothing to walk: raise the steps or the strength")
    start = noise * taken[0] if known is None else known.latents + noise * taken[0]
    path = brownian(sigmas, noise, seeds, source) if sampler.brownian else lambda sigma, target: draw()
    keep = None if known is None else known.kept
    conversation = _ended(sampler.walk(start, taken, sampling.denoiser(table, keep), path), known)
    silent = sampler.walk(torch.zeros(1), taken, sampling.denoiser(table), lambda sigma, target: torch.zeros(1))
    return Walk(conversation, asked_at(silent), (executed + 1) * (2 if sampler.doubled else 1), sampler.doubled)


def _laid_out(steps: int, known: Known | None, most: int) -> tuple[int, int]:
    laid_out, executed = (steps, steps - 1) if known is None else known.steps(steps)
    if laid_out > most:
        raise WalkError(
            f"{steps} steps at this strength are part of a schedule of {laid_out}, which has {most} at most: "
            "raise the strength, or lower the steps"
        )
    return laid_out, executed


def levels(sampler: Sampler, schedule: str, steps: int, table: NoiseTable, xl: bool = False) -> Tensor:
    """The falling levels of a sampler's schedule for a number of steps."""
    named = sampler.schedule if schedule == AUTOMATIC else schedule
    count = steps + 1 if sampler.discards else steps
    if named == "Beta":
        sigmas = beta(count, table)
    else:
        sigmas = align_your_steps(count, table, xl) if named == "Align Your Steps" else SCHEDULES[named](count, table)
    return torch.cat([sigmas[:-2], sigmas[-1:]]) if sampler.discards else sigmas


def beta(count: int, table: NoiseTable) -> Tensor:
    """Lee et al. 2024 as the WebUI has it: quantiles of the beta distribution (0.6, 0.6), linear in sigma."""
    from scipy import stats

    low, high = table.sigmas[0].item(), table.sigmas[-1].item()
    places = (1 - torch.linspace(0, 1, count, dtype=torch.float64)).tolist()
    return torch.tensor([*(low + float(stats.beta.ppf(each, 0.6, 0.6)) * (high - low) for each in places), 0.0])


def brownian(sigmas: Tensor, noise: Tensor, seeds: Sequence[int], source: Callable[[int], Noise] = _cpu_noise) -> Draw:
    """Noise from Brownian paths over sigma, one for each seed, normal for each stretch."""
    import torchsde

    low, high = sigmas[sigmas > 0].min(), sigmas.max()
    with _grown_from(source):
        paths = [torchsde.BrownianTree(low, torch.zeros_like(noise[0]), high, entropy=seed) for seed in seeds]

    def draw(sigma: Tensor, target: Tensor) -> Tensor:
        with _grown_from(source), warnings.catch_warnings():
            # The ends of the path are rounded inside, and it says so of each.
            warnings.filterwarnings("ignore", message="Should have t", category=UserWarning)
            # The path is walked downwards: from the larger level to the smaller one.
            return torch.stack([-path(target, sigma) for path in paths]) / (sigma - target).abs().sqrt()

    return draw


@contextmanager
def _grown_from(source: Callable[[int], Noise]) -> Iterator[None]:
    """Within the block torchsde's trees grow from these numbers, as the WebUI makes them do.

    The package takes no generator of ours: where its own numbers are not the right ones, its function is replaced.
    """
    if source is _cpu_noise:
        yield
        return
    from torchsde._brownian import brownian_interval

    def grown(size: Sequence[int], dtype: torch.dtype, device: torch.device, seed: int) -> Tensor:
        return source(int(seed))(size).to(device, dtype)

    own, brownian_interval._randn = brownian_interval._randn, grown
    try:
        yield
    finally:
        brownian_interval._randn = own


def asked_at(conversation: Conversation) -> tuple[float, ...]:
    """The timesteps at which a conversation asks, if it only ever hears silence."""
    asked = []
    try:
        question = next(conversation)
        while True:
            asked.append(question.timestep)
            question = conversation.send(Answer(torch.zeros_like(question.sample)))
    except StopIteration:
        return tuple(asked)


def _over_timesteps(sampler: Sampler, steps: int, noise: Tensor, table: NoiseTable, known: Known | None) -> Walk:
    laid_out, executed = _laid_out(steps, known, len(table.alphas_cumprod))
    trained = timesteps(laid_out, len(table.alphas_cumprod))
    start, taken = noise, trained
    if known is not None:
        left = table.alphas_cumprod[trained[executed]]
        start, taken = known.latents * left.sqrt() + noise * (1 - left).sqrt(), trained[:executed]

    def begun(latent: Tensor, keep: Callable[[Tensor], Tensor]) -> Conversation:
        if sampler.name == "UniPC":
            count = len(table.alphas_cumprod)
            first = torch.ones(()) if known is None else taken[-1] / count + 1 / count
            return sampling_timesteps.unipc(latent, first, len(taken), table, keep)
        over = sampling_timesteps.ddim if sampler.name == "DDIM" else sampling_timesteps.plms
        return over(latent, taken, table, keep)

    if len(taken) < (3 if sampler.name == "UniPC" else 2):
        raise WalkError(f"{sampler.name} cannot walk {len(taken)} timesteps: raise the steps or the strength")
    silent = asked_at(begun(torch.zeros(1), lambda latent: latent))
    keep = (lambda latent: latent) if known is None else known.kept
    return Walk(_ended(begun(start, keep), known), silent, executed + 1)


def _ended(conversation: Conversation, known: Known | None) -> Conversation:
    latents = yield from conversation
    return latents if known is None else known.kept(latents)
