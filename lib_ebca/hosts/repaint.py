"""RePaint as a scheduler of diffusers: any text-to-image pipeline that samples with it repaints a photograph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DDIMScheduler
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from torch import Tensor

from lib_ebca.photo.inversion import noise_in
from lib_ebca.photo.repaint import Stride, climb, itinerary, step_down


class RePaintScheduler(DDIMScheduler):
    """The way down and back up again of :mod:`lib_ebca.photo.repaint`.

    Make it with ``from_config`` of the model's scheduler, give it the photograph with :meth:`keep`, and put it into the
    pipeline. Its ``timesteps`` are those at which the model is asked; the climbs between them happen inside ``step``.
    """

    def keep(
        self,
        known: Tensor,
        repainted: Tensor,
        draw: Callable[[], Tensor],
        *,
        jump_length: int = 10,
        jump_count: int = 10,
        clip: float | None = None,
    ) -> None:
        """Say what stays, and how hard to work at the rest.

        Args:
            known: (B, 4, H, W), the photographs' latents, scaled as the model expects.
            repainted: (B or 1, 1, H, W) in [0, 1], 1 where the picture is painted anew.
            draw: gives fresh normal noise, (B, 4, H, W), at each call.
            jump_length: strides of a jump back up.
            jump_count: how often each stretch is walked.
            clip: bound on the estimated latents, as published for pixels; None leaves them alone.
        """
        self._known, self._repainted, self._draw = known, repainted, draw
        self._jumps, self._clip = (jump_length, jump_count), clip

    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Lay out a way whose straight walk would take that many steps."""
        trained = self.config.num_train_timesteps
        self._strides = itinerary(num_inference_steps, *self._jumps, trained=trained)
        self._length = trained // num_inference_steps
        self._place = 0
        self.timesteps = torch.tensor([stride.timestep for stride in self._strides], device=device)
        # What callers count a pass by: the evaluations of the model.
        self.num_inference_steps = len(self._strides)

    def step(
        self, model_output: Tensor, timestep: int | Tensor, sample: Tensor, return_dict: bool = True, **unused: Any
    ) -> DDIMSchedulerOutput | tuple[Tensor]:
        """One stride down, and the climbs that follow it."""
        stride = self._strides[self._place]
        self._place += 1
        level = self.alphas_cumprod[stride.timestep]
        below = stride.timestep - self._length
        noise = noise_in(model_output, sample, level, self.config.prediction_type)
        latents = step_down(
            sample,
            noise,
            self._known.to(sample),
            self._repainted.to(sample),
            level,
            self.alphas_cumprod[below] if below >= 0 else torch.ones_like(level),
            self._draw().to(sample),
            self._clip,
        )
        latents = self.climbed(latents, stride)
        return DDIMSchedulerOutput(prev_sample=latents) if return_dict else (latents,)

    def climbed(self, latents: Tensor, stride: Stride) -> Tensor:
        """The latents after the climbs that follow a stride."""
        for start in stride.climbs:
            betas = self.betas[start : start + self._length]
            latents = climb(latents, betas, self._draw)
        return latents
