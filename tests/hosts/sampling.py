"""A few steps of a tiny pipeline under a plan, as the tests of the diffusers host draw them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lib_ebca import ContextUpdate, Plan
from lib_ebca.hosts.diffusers import energy_attention
from lib_ebca.language.directives import parse

BCU = Plan(update=ContextUpdate(0.05, 0.1))
FULL = parse("<bcu:0.05:0.1> <edit:dog:0.5:attn=0.01> <edit:castle:-0.3:from=0.5> <boost:cat:2>").plan
STEPS = 4


def sample(
    pipe: Any, plan: Plan | list[Plan], prompt: Any = "a cat on a sofa", seeds: tuple[int, ...] = (0,), **asked: Any
) -> Tensor:
    """Latents, one for each seed; `options` go to the host, the rest of `asked` to the pipeline."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    asked.setdefault("negative_prompt", "" if isinstance(prompt, str) else [""] * len(prompt))
    with energy_attention(pipe, plan, **asked.pop("options", {})):
        result = pipe(prompt, num_inference_steps=STEPS, output_type="latent", generator=generators, **asked)
    return result.images
