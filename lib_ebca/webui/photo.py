"""Edit this picture, in img2img: its latent is inverted with the host's model, and DDIM starts from the noise found.

The host does all the rest as ever: VAE, masks, guidance, its own DDIM. How far the picture is inverted is how far
img2img would add noise to it, the denoising strength.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from modules import extra_networks, prompt_parser, shared
from modules.sd_samplers_common import InterruptedException
from torch import Tensor

from lib_ebca.hosts.patch import replaced
from lib_ebca.language.directives import parse
from lib_ebca.photo.inversion import Course, Inversion, Model, invert_fixed_point, invert_published
from lib_ebca.webui.form import INVERSIONS, Form
from lib_ebca.webui.hosting import hosting

SAMPLER = "DDIM"


class PhotoError(ValueError):
    """A picture that cannot be edited; one sentence says what would help."""


def asked(p: Any, form: Form) -> bool:
    """Whether the job's picture is to be inverted. What ADetailer finds in a picture is painted anew as ever."""
    return form.enabled and form.photo and bool(getattr(p, "init_images", None)) and not hasattr(p, "_ad_inner")


def set_up(p: Any) -> None:
    """Give a job the one sampler that can be inverted, and every picture its caption.

    A prompt that is empty but for its directives gets the host's Interrogate before it; an empty negative prompt
    becomes the caption, as the command line does it: guidance then pulls at nothing but the edits.

    Raises:
        PhotoError: the host could not tell what the picture shows.
        DirectiveError: a directive cannot be read.
    """
    p.sampler_name, p.eta = SAMPLER, 0.0
    found: dict[int, str] = {}
    prompts, negatives = [], []
    for number, (prompt, negative) in enumerate(zip(p.all_prompts, p.all_negative_prompts, strict=True)):
        caption = _without_networks(parse(prompt).text)
        if not caption:
            index = number % len(p.init_images)
            found[index] = caption = found.get(index) or _interrogated(p.init_images[index])
            prompt = f"{caption} {prompt}"
        prompts.append(prompt)
        negatives.append(negative if negative.strip() else caption)
    p.all_prompts, p.all_negative_prompts = prompts, negatives


def _without_networks(text: str) -> str:
    return str(extra_networks.parse_prompt(text)[0]).strip()


def _interrogated(image: Any) -> str:
    caption = str(shared.interrogator.interrogate(image.convert("RGB"))).strip()
    if not caption or "<error>" in caption:
        raise PhotoError(
            "the prompt is empty, and the WebUI's Interrogate failed (its console says why): "
            "write what the picture shows into the prompt"
        )
    return caption


@dataclass(frozen=True)
class Photo:
    """How the pictures of a batch are inverted.

    Attributes:
        method: one of :data:`INVERSIONS`.
        seeds: one for each picture: the random shifts of the published inversion.
    """

    method: str
    seeds: Sequence[int]

    @contextmanager
    def starts(self, sampler: Any) -> Iterator[None]:
        """Let the sampler's next run begin at the noise behind its pictures.

        Raises:
            PhotoError: in the sampler's run: it is not DDIM, or too few steps are left to it.
        """
        found: Callable[..., Any] = sampler.func

        def func(denoiser: Any, noisy: Tensor, *args: Any, **keywords: Any) -> Any:
            timesteps = keywords.get("timesteps")
            name = getattr(getattr(sampler, "config", None), "name", SAMPLER)
            if timesteps is None or name != SAMPLER:
                raise PhotoError(f'"Edit this picture" samples with {SAMPLER}, and the sampler is {name}')
            inversion, times = self._inverted(denoiser, noisy, timesteps.cpu(), keywords["extra_args"])
            latents = inversion.latents.to(noisy.dtype)
            levels = dict(zip(times[-len(inversion.trajectory) :], inversion.trajectory, strict=True))
            with _blended(denoiser, levels):
                return found(denoiser, latents, *args, **keywords)

        with replaced(sampler, "func", func):
            yield

    def _inverted(
        self, denoiser: Any, noisy: Tensor, timesteps: Tensor, extra_args: Mapping[str, Any]
    ) -> tuple[Inversion, tuple[int, ...]]:
        steps = len(timesteps) - 1
        if steps < 2:
            raise PhotoError(
                f'"Edit this picture" has {max(steps, 0)} steps left to invert and needs 2: '
                "raise the steps or the denoising strength"
            )
        alphas = shared.sd_model.alphas_cumprod.cpu()
        times = tuple(int(timestep) for timestep in timesteps)
        below = alphas[torch.tensor((0, *times[:-1]))]
        levels = alphas[timesteps.long()]
        model = _captioned(denoiser, noisy.dtype, extra_args)
        picture = denoiser.init_latent.float()
        if self.method == INVERSIONS[0]:
            # The host's DDIM goes down to its first timestep and stops there.
            return invert_fixed_point(picture, model, Course(times[1:], levels[1:], below[1:])), times
        generators = [torch.Generator().manual_seed(int(seed)) for seed in self.seeds]
        return invert_published(picture, model, Course(times, levels, below), generators), times


def _captioned(denoiser: Any, dtype: torch.dtype, extra_args: Mapping[str, Any]) -> Model:
    """The host's model under the pictures' captions, without guidance; for a scheduled prompt the first stage."""
    schedules = [parts[0].schedules for parts in extra_args["cond"].batch]
    caption = prompt_parser.reconstruct_cond_batch(schedules, 0)
    image = extra_args["image_cond"]
    host = hosting(shared.sd_model)

    def model(latents: Tensor, timestep: int) -> Tensor:
        if shared.state.interrupted or shared.state.skipped:
            raise InterruptedException
        times = torch.full((len(latents),), float(timestep), device=latents.device, dtype=dtype)
        output = host.predict(denoiser, latents.to(dtype), times, caption, image)
        return output.to(latents.dtype)

    return model


def _blended(denoiser: Any, levels: Mapping[int, Tensor]) -> AbstractContextManager[None]:
    """Outside the mask the host puts the picture itself into its noisy latents: here, with the picture's own noise."""
    if getattr(denoiser, "mask", None) is None:
        return nullcontext()
    found: Callable[..., Any] = denoiser.forward
    noisy = hosting(shared.sd_model).adds_noise

    def forward(x: Tensor, sigma: Tensor, *args: Any, **keywords: Any) -> Any:
        picture = levels.get(int(sigma[0]), denoiser.init_latent)
        if noisy:
            blended = x * denoiser.nmask + picture.to(x.dtype) * denoiser.mask
            with replaced(denoiser, "mask", None):
                return found(blended, sigma, *args, **keywords)
        with replaced(denoiser, "init_latent", picture.to(x.dtype)):
            return found(x, sigma, *args, **keywords)

    return replaced(denoiser, "forward", forward)
