"""The denoiser that turns a step into calls of the UNet, and a sampler around it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from modules import prompt_parser, sd_samplers, shared
from modules.sd_samplers_common import InterruptedException
from torch import Tensor, nn

from tests.hosts import tiny_forge


class CFGDenoiser(nn.Module):
    """Conditional rows first; one call or several, by length and settings."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0
        self.total_steps = 0
        self.image_cfg_scale: float | None = None
        self.p: Any = None
        self.on_step: Callable[[int], None] = lambda step: None
        self.init_latent: Tensor | None = None
        self.mask: Tensor | None = None
        self.nmask: Tensor | None = None
        self.blends = False
        self.fed: list[Tensor] = []
        self.classic_ddim_eps_estimation = False

    def forward(
        self, x: Tensor, sigma: Tensor, uncond: Any, cond: Any, cond_scale: float, image_cond: Any = None
    ) -> Tensor:
        if shared.state.interrupted or shared.state.skipped:
            raise InterruptedException
        self.on_step(self.step)
        if self.blends and self.mask is not None and self.nmask is not None and self.init_latent is not None:
            picture = self.init_latent
            if forge():
                level = shared.sd_model.alphas_cumprod[sigma.long()].view(-1, 1, 1, 1)
                picture = picture * level.sqrt() + torch.randn_like(picture) * (1 - level).sqrt()
            x = x * self.nmask + picture * self.mask
        self.fed.append(x)
        if forge():
            return self._by_marks(x, sigma, uncond, cond, cond_scale)
        listed, tensor = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        negative = prompt_parser.reconstruct_cond_batch(uncond, self.step)
        images = len(listed)
        repeated = torch.cat([x[i : i + 1].expand(len(own), -1, -1, -1) for i, own in enumerate(listed)] + [x])
        skip = self._unguided(float(sigma.reshape(-1)[0]))
        if skip:
            repeated = repeated[:-images]
        if tensor.shape[1] != negative.shape[1]:
            tensor, negative = self._padded(tensor, negative)
        output = torch.zeros_like(repeated)
        if tensor.shape[1] == negative.shape[1] or skip:
            context = tensor if skip else torch.cat([tensor, negative])
            size = len(context) if shared.opts.batch_cond_uncond else images
            for start in range(0, len(context), size):
                part = slice(start, start + size)
                output[part] = self._network(repeated[part], sigma, context[part])
        else:
            size = images * 2 if shared.opts.batch_cond_uncond else images
            for start in range(0, len(tensor), size):
                part = slice(start, min(start + size, len(tensor)))
                output[part] = self._network(repeated[part], sigma, tensor[part])
            output[-images:] = self._network(repeated[-images:], sigma, negative)
        firsts = [own[0][0] for own in listed]
        base = output[firsts] if skip else output[-images:]
        result = base.clone()
        for image, own in enumerate(listed):
            for index, weight in own:
                result[image] += (output[index] - base[image]) * weight * (1.0 if skip else cond_scale)
        self.step += 1
        return result

    def _by_marks(self, x: Tensor, sigma: Tensor, uncond: Any, cond: Any, cond_scale: float) -> Tensor:
        """Forge's: latents that are noisier rather than fainter, and what is left of them without the noise."""
        listed, tensor = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        negative = prompt_parser.reconstruct_cond_batch(uncond, self.step)
        sigma = sigma.reshape(-1).expand(len(x))
        if self.classic_ddim_eps_estimation:
            level = shared.sd_model.alphas_cumprod[sigma.long()]
            sigma = ((1 - level) / level).sqrt()
            x = x / level.sqrt().view(-1, 1, 1, 1)
        parts = list(zip(*listed, strict=False))
        conditional = [tensor[[index for index, _ in part]] for part in parts]
        base: Tensor | None = negative if cond_scale != 1.0 else None
        predicted, base = tiny_forge.denoised(
            shared.sd_model.forge_objects.unet, conditional, base, x, sigma, shared.opts.data.get("chunks", 99)
        )
        if base is None:
            result = predicted[0]
        else:
            result = base.clone()
            for part, each in zip(parts, predicted, strict=True):
                weights = torch.tensor([weight for _, weight in part]).view(-1, 1, 1, 1)
                result += (each - base) * weights * cond_scale
        self.step += 1
        return (x - result) / sigma.view(-1, 1, 1, 1) if self.classic_ddim_eps_estimation else result

    def _unguided(self, sigma: float) -> bool:
        """Whether the unconditional rows stay away: from the first steps, or from (every other of) the last ones."""
        if shared.opts.skip_early_cond and self.step / self.total_steps <= shared.opts.skip_early_cond:
            return True
        everywhere = shared.opts.s_min_uncond_all or self.step % 2
        return bool(everywhere) and self.p.s_min_uncond > 0 and sigma < self.p.s_min_uncond

    def _padded(self, tensor: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        if shared.opts.pad_cond_uncond_v0:
            length = tensor.shape[1]
            missing = max(0, length - negative.shape[1])
            return tensor, torch.cat([negative, negative[:, -1:].expand(-1, missing, -1)], 1)[:, :length]
        if shared.opts.pad_cond_uncond:
            empty = shared.sd_model.cond_stage_model_empty_prompt
            repeats = (tensor.shape[1] - negative.shape[1]) // empty.shape[1]
            if repeats > 0:
                negative = torch.cat([negative, empty.repeat(len(negative), repeats, 1)], 1)
            elif repeats < 0:
                tensor = torch.cat([tensor, empty.repeat(len(tensor), -repeats, 1)], 1)
        return tensor, negative

    def _network(self, x: Tensor, sigma: Tensor, context: Tensor) -> Tensor:
        times = sigma.reshape(-1)[:1].expand(len(x)) * (1 if self.blends else 60)
        return self.inner_model(x, times, cond={"c_crossattn": [context], "c_concat": [None]})

    def inner_model(self, x: Tensor, timesteps: Tensor, cond: Any) -> Tensor:
        """The model as the host's wrapper calls it; SDXL's conditions are their own mapping."""
        context = cond["crossattn"] if "crossattn" in cond else cond["c_crossattn"][0]
        output: Tensor = shared.sd_model.model.diffusion_model(x, timesteps, context=context)
        return output


def forge() -> bool:
    """Whether the model that is loaded is one of Forge's."""
    return hasattr(shared.sd_model, "forge_objects")


def no_image(x: Tensor) -> Tensor:
    """What the host hands to models that take no picture."""
    return x.new_zeros(len(x), 5, 1, 1)


def ddim(model: Any, x: Tensor, timesteps: Tensor, extra_args: Any) -> Tensor:
    """The host's: it begins at the last timestep and ends at the first."""
    alphas = shared.sd_model.alphas_cumprod
    for index in range(len(timesteps) - 1, 0, -1):
        noise = model(x, torch.full((len(x),), float(timesteps[index])), **extra_args)
        level, below = alphas[timesteps[index]], alphas[timesteps[index - 1]]
        picture = (x - (1 - level).sqrt() * noise) / level.sqrt()
        x = below.sqrt() * picture + (1 - below).sqrt() * noise
    return x


class Ddim:
    """The host's sampler that counts in timesteps, in img2img."""

    def __init__(self) -> None:
        self.config = sd_samplers.find_sampler_config("DDIM")
        self.model_wrap_cfg = CFGDenoiser()
        self.model_wrap_cfg.blends = True
        self.func = ddim
        self.last_latent: Tensor | None = None

    def launch_sampling(self, steps: int, func: Callable[[], Tensor]) -> Tensor | None:
        self.model_wrap_cfg.total_steps = steps
        try:
            return func()
        except InterruptedException:
            return self.last_latent

    def sample(self, p: Any, x: Tensor, conditioning: Any, negative: Any, steps: int, cfg_scale: float) -> Tensor:
        denoiser = self.model_wrap_cfg
        denoiser.step, denoiser.p, denoiser.fed = 0, p, []
        denoiser.classic_ddim_eps_estimation = forge()
        denoiser.init_latent = self.last_latent = p.init_latent
        denoiser.nmask = p.nmask
        denoiser.mask = None if p.nmask is None else 1 - p.nmask
        times = (torch.arange(0, 1000, 1000 // p.steps) + 1)[: steps - 1]
        extra = {"cond": conditioning, "uncond": negative, "cond_scale": cfg_scale, "image_cond": no_image(x)}
        keywords: dict[str, Any] = {"timesteps": times, "extra_args": extra}
        result = self.launch_sampling(steps, lambda: self.func(denoiser, x, **keywords))
        assert result is not None
        return result


class Sampler:
    """Euler over a few noise levels."""

    def __init__(self, name: str) -> None:
        self.config = sd_samplers.find_sampler_config(name)
        self.model_wrap_cfg = CFGDenoiser()
        self.last_latent: Tensor | None = None

    def launch_sampling(self, steps: int, func: Callable[[], Tensor]) -> Tensor | None:
        self.model_wrap_cfg.total_steps = self.config.total_steps(steps)
        try:
            return func()
        except InterruptedException:
            return self.last_latent

    def sample(self, p: Any, x: Tensor, conditioning: Any, negative: Any, steps: int, cfg_scale: float) -> Tensor:
        self.model_wrap_cfg.step = 0
        self.model_wrap_cfg.p = p
        evaluations = self.config.total_steps(steps) - (self.config.total_steps(1) - 1)
        sigmas = [3.0 * (1 - i / evaluations) for i in range(evaluations + 1)]

        def euler() -> Tensor:
            latent = x * sigmas[0]
            self.last_latent = latent
            for sigma, lower in pairwise(sigmas):
                scaled = latent if forge() else latent / (sigma**2 + 1) ** 0.5
                keywords = {
                    "uncond": negative,
                    "cond": conditioning,
                    "cond_scale": cfg_scale,
                    "image_cond": no_image(x),
                }
                noise = self.model_wrap_cfg(scaled, torch.full((len(x),), sigma), **keywords)
                noise = (latent - noise) / sigma if forge() else noise
                latent = latent + noise * (lower - sigma)
                self.last_latent = latent
            return latent

        result = self.launch_sampling(steps, euler)
        assert result is not None
        return result
