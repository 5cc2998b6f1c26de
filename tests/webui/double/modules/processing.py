"""One job, hook by hook in the host's order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from modules import extra_networks, prompt_parser, sampling, sd_samplers, shared
from torch import Tensor


class Processing:
    """txt2img with hires fix, or img2img; the attributes are the host's."""

    def __init__(self, **asked: Any) -> None:
        self.scripts: Any = None
        self.script_args: list[Any] = []
        self.prompt: Any = ""
        self.negative_prompt: Any = ""
        self.seed = 1
        self.steps = 4
        self.cfg_scale = 5.0
        self.s_min_uncond = 0.0
        self.sampler_name = "Euler"
        self.width, self.height = 64, 48
        self.batch_size, self.n_iter = 1, 1
        self.enable_hr = False
        self.hr_prompt, self.hr_negative_prompt = "", ""
        self.hr_sampler_name: str | None = None
        self.hr_second_pass_steps = 0
        self.hr_scale = 1.5
        self.hr_checkpoint: Any = None
        self.firstpass_image: Any = None
        self.disable_extra_networks = False
        self.nmask: Tensor | None = None
        self.is_img2img = False
        self.init_images: list[Any] = []
        self.init_latent: Any = None
        self.eta: float | None = None
        self.denoising_strength = 0.5
        self.is_hr_pass = False
        self.extra_generation_params: dict[str, Any] = {}
        self.comments: dict[str, int] = {}
        self.on_step: Any = lambda step: None
        self.iteration = 0
        self.prompts: list[str] = []
        self.negative_prompts: list[str] = []
        self.seeds: list[int] = []
        self.all_seeds: list[int] = []
        self.__dict__.update(asked)

    @property
    def old_scheduling(self) -> list[bool]:
        """Neo has no such setting."""
        return [value for name, value in shared.opts.data.items() if name == "use_old_scheduling"]

    @property
    def sd_model(self) -> Any:
        return shared.sd_model

    def comment(self, text: str) -> None:
        self.comments[text] = 1

    def setup_prompts(self) -> None:
        count = self.batch_size * self.n_iter
        self.all_prompts = self.prompt if isinstance(self.prompt, list) else [self.prompt] * count
        negative = self.negative_prompt
        self.all_negative_prompts = negative if isinstance(negative, list) else [negative] * count
        if self.enable_hr:
            self.all_hr_prompts = [self.hr_prompt] * count if self.hr_prompt else list(self.all_prompts)
            self.all_hr_negative_prompts = (
                [self.hr_negative_prompt] * count if self.hr_negative_prompt else list(self.all_negative_prompts)
            )

    def init(self, *_: Any) -> None:
        if self.is_img2img:
            self.sampler: Any = sampling.Ddim() if self.sampler_name == "DDIM" else sampling.Sampler(self.sampler_name)

    def parse_extra_network_prompts(self) -> None:
        self.prompts, self.extra_network_data = extra_networks.parse_prompts(self.prompts)
        if self.enable_hr:
            part = slice(self.iteration * self.batch_size, (self.iteration + 1) * self.batch_size)
            self.hr_prompts, self.hr_extra_network_data = extra_networks.parse_prompts(self.all_hr_prompts[part])
            self.hr_negative_prompts = self.all_hr_negative_prompts[part]

    def get_conds_with_caching(
        self, function: Any, prompts: Any, steps: int, caches: list[Any], networks: Any, hires_steps: int | None = None
    ) -> Any:
        checkpoint, size = shared.sd_model.sd_checkpoint_info, (self.width, self.height)
        key = (list(prompts), steps, hires_steps, checkpoint, str(networks), size)
        for cache in caches:
            if cache[0] == key:
                return cache[1]
        caches[0][1] = function(shared.sd_model, prompts, steps, hires_steps, *self.old_scheduling)
        caches[0][0] = key
        return caches[0][1]

    def setup_conds(self) -> None:
        self.firstpass_steps = sd_samplers.find_sampler_config(self.sampler_name).total_steps(self.steps)
        self.uc = prompt_parser.get_learned_conditioning(
            shared.sd_model, prompt_parser.SdConditioning(self.negative_prompts), self.firstpass_steps
        )
        self.c = prompt_parser.get_multicond_learned_conditioning(
            shared.sd_model, prompt_parser.SdConditioning(self.prompts), self.firstpass_steps
        )

    def noise(self, height: int, width: int) -> Tensor:
        rows = [torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(seed)) for seed in self.seeds]
        return torch.cat(rows)

    def before_sampling(self, conditioning: Any, negative: Any) -> None:
        self.sampler.model_wrap_cfg.on_step = self.on_step
        if sampling.forge():
            # Clones that a script made in an earlier pass are gone; plain Forge asks its scripts twice for hires.
            shared.sd_model.forge_objects = SimpleNamespace(unet=shared.sd_model.forge_objects_after_applying_lora.unet)
            if self.is_hr_pass:
                self.scripts.run("process_before_every_sampling", self, c=conditioning, uc=negative)
        self.scripts.run("process_before_every_sampling", self, c=conditioning, uc=negative)

    def sample(self) -> Tensor:
        if not self.is_img2img:
            self.sampler = sampling.Sampler(self.sampler_name)
        height, width = self.height // 8, self.width // 8
        if self.firstpass_image is not None and self.enable_hr:
            return self.sample_hr_pass(self.firstpass_image)
        x = self.noise(height, width)
        self.before_sampling(self.c, self.uc)
        steps = int(self.steps * self.denoising_strength) + 1 if self.is_img2img else self.steps
        samples = self.sampler.sample(self, x, self.c, self.uc, steps, self.cfg_scale)
        return self.sample_hr_pass(samples) if self.enable_hr else samples

    def sample_hr_pass(self, samples: Tensor) -> Tensor:
        if shared.state.interrupted:
            return samples
        if self.hr_checkpoint is not None:
            shared.sd_model = self.hr_checkpoint
        self.is_hr_pass = True
        name = self.hr_sampler_name or self.sampler_name
        self.sampler = sampling.Sampler(name)
        self.hr_upscale_to_x, self.hr_upscale_to_y = int(self.width * self.hr_scale), int(self.height * self.hr_scale)
        size = (self.hr_upscale_to_y // 16 * 2, self.hr_upscale_to_x // 16 * 2)
        samples = F.interpolate(samples, size=size) + 0.3 * self.noise(*size)
        steps = self.hr_second_pass_steps or self.steps
        second = sd_samplers.find_sampler_config(name).total_steps(steps)
        get = prompt_parser.get_learned_conditioning
        self.hr_uc = get(
            shared.sd_model, prompt_parser.SdConditioning(self.hr_negative_prompts), self.firstpass_steps, second
        )
        self.hr_c = prompt_parser.get_multicond_learned_conditioning(
            shared.sd_model, prompt_parser.SdConditioning(self.hr_prompts), self.firstpass_steps, second
        )
        self.before_sampling(self.hr_c, self.hr_uc)
        samples = self.sampler.sample(self, samples, self.hr_c, self.hr_uc, steps, self.cfg_scale)
        self.is_hr_pass = False
        return samples


def infotext(p: Processing, index: int) -> dict[str, Any]:
    """What is written into picture number ``index`` of the batch, as the host's reader gives it back."""
    found: dict[str, Any] = {"Prompt": p.prompts[index]}
    for key, value in p.extra_generation_params.items():
        if callable(value):
            value = value(p=p, index=index, prompt_text=p.prompts[index], negative_prompt=p.negative_prompts[index])
        if value is not None:
            found[key] = value
    return found


def process_images(p: Processing) -> Any:
    """The host's main loop."""
    p.scripts.run("before_process", p)
    p.setup_prompts()
    p.all_seeds = [p.seed + i for i in range(len(p.all_prompts))]
    p.scripts.run("process", p)
    p.init(p.all_prompts, p.all_seeds, p.all_seeds)
    images: list[Tensor] = []
    infotexts: list[Any] = []
    for n in range(p.n_iter):
        p.iteration = n
        shared.state.skipped = False
        if shared.state.interrupted:
            break
        part = slice(n * p.batch_size, (n + 1) * p.batch_size)
        p.prompts, p.negative_prompts = p.all_prompts[part], p.all_negative_prompts[part]
        p.seeds = p.all_seeds[part]
        p.scripts.run("before_process_batch", p, batch_number=n, prompts=p.prompts, seeds=p.seeds, subseeds=p.seeds)
        p.parse_extra_network_prompts()
        if not p.disable_extra_networks:
            extra_networks.activate(p, p.extra_network_data)
        p.scripts.run("process_batch", p, batch_number=n, prompts=p.prompts, seeds=p.seeds, subseeds=p.seeds)
        p.setup_conds()
        with torch.inference_mode() if sampling.forge() else torch.no_grad():
            samples = p.sample()
        p.scripts.run("post_sample", p)
        p.prompts = p.all_prompts[part]
        for i in range(len(samples)):
            p.scripts.run("postprocess_image", p)
            infotexts.append(infotext(p, i))
            images.append(samples[i])
    result = SimpleNamespace(images=images, infotexts=infotexts)
    p.scripts.run("postprocess", p, result)
    return result
