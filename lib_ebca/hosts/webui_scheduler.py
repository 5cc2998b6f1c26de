"""A walk of the WebUI's samplers as a scheduler of diffusers, so that any text-to-image pipeline makes it."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ConfigMixin, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from lib_ebca.hosts.webui_samplers import Walk
from lib_ebca.methods.noise_levels import NoiseTable
from lib_ebca.methods.sampling import Answer


class WalkScheduler(SchedulerMixin, ConfigMixin):
    """Hands a pipeline the questions of a walk one by one, and the walk the pipeline's answers.

    The pipeline is to be given :attr:`first` as its `latents`. Used for one call.
    """

    order = 1

    @register_to_config
    def __init__(self, prediction_type: str = "epsilon") -> None:
        self.init_noise_sigma = 1.0

    def follow(self, walk: Walk, steps: int) -> None:
        """Be about to make a walk that was asked with a number of steps."""
        self._conversation, self._walk = walk.conversation, walk
        self._question = next(self._conversation)
        self._asked = 1
        self.num_inference_steps = steps
        self.announced_evaluations = walk.announced
        self.timesteps = torch.tensor(walk.timesteps)

    @property
    def first(self) -> Tensor:
        """What the network is to see first, (B, C, H, W)."""
        return self._question.sample

    @property
    def state_in_first_order(self) -> bool:
        """Whether what the network sees next is the latent of the pass, and not a step's look ahead."""
        return not self._walk.doubled or self._asked % 2 == 1

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """The walk's timesteps, whatever number is asked."""
        self.timesteps = torch.tensor(self._walk.timesteps, device=device)

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The walk's questions have variance one already."""
        return sample

    def step(
        self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = False, **unused: Any
    ) -> tuple[Tensor]:
        """The next thing that the network is to see, or at the end the finished latent.

        Where `sample` is not what was handed out last, the walk goes on from it.
        """
        question = self._question
        shown = sample.to(question.sample)
        moved = None if torch.equal(shown, question.sample.to(sample.dtype).to(shown)) else shown
        noise = model_output.to(question.sample)
        if self.config.prediction_type == "v_prediction":
            noise = question.noise_of(noise, moved)
        try:
            self._question = self._conversation.send(Answer(noise, moved))
        except StopIteration as ended:
            return (ended.value.to(sample),)
        self._asked += 1
        return (self._question.sample.to(sample),)


def table_of(config: Any) -> NoiseTable:
    """The noise levels that a scheduler's configuration says the model was trained with.

    Raises ValueError for a beta schedule that the WebUI's models do not have.
    """
    count, kind = config["num_train_timesteps"], config["beta_schedule"]
    if (trained := config.get("trained_betas")) is not None:
        return NoiseTable.of_betas(torch.tensor(trained, dtype=torch.float64))
    if kind not in ("scaled_linear", "linear"):
        raise ValueError(f"the model's beta_schedule is {kind!r}: it should be scaled_linear or linear")
    power = 2 if kind == "scaled_linear" else 1
    ends = (config["beta_start"] ** (1 / power), config["beta_end"] ** (1 / power))
    return NoiseTable.of_betas(torch.linspace(*ends, count, dtype=torch.float64) ** power)
