"""RePaint as the scheduler of whole pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca import ContextUpdate, Plan
from lib_ebca.hosts.diffusers import energy_attention
from lib_ebca.hosts.inversion import edit_scheduler
from lib_ebca.hosts.repaint import RePaintScheduler
from tests import tiny_pipe

SIZE = 8


def draws(count: int, seed: int = 0) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(count, 4, SIZE, SIZE, generator=generator)


def half(count: int = 1) -> Tensor:
    """White on the left."""
    mask = torch.zeros(count, 1, SIZE, SIZE)
    mask[..., : SIZE // 2] = 1
    return mask


def repaint(pipe: Any, known: Tensor, mask: Tensor, plan: Plan | None = None, **jumps: int) -> tuple[Tensor, int]:
    count = len(known)
    pipe.scheduler = RePaintScheduler.from_config(edit_scheduler(pipe).config)
    pipe.scheduler.keep(known, mask, draws(count), **jumps)
    evaluations = []
    hook = pipe.unet.register_forward_pre_hook(lambda module, arguments: evaluations.append(1))
    with energy_attention(pipe, plan or Plan(), mask=mask[:, 0].expand(count, -1, -1)):
        latents = pipe(
            ["a cat"] * count,
            latents=draws(count, 9)(),
            num_inference_steps=6,
            guidance_scale=3.0,
            output_type="latent",
        ).images
    hook.remove()
    return latents, len(evaluations)


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_what_is_black_comes_back_and_what_is_white_does_not(kind: str) -> None:
    known = torch.randn(2, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    latents, evaluations = repaint(getattr(tiny_pipe, kind)(), known, half(), jump_length=2, jump_count=3)
    black = (half() == 0).expand_as(known)
    assert torch.equal(latents[black], known[black])
    assert float((latents - known)[~black].abs().min()) > 1e-6
    assert evaluations == 6 + 2 * 2 * 2


def test_no_jump_is_one_evaluation_a_step() -> None:
    known = torch.zeros(1, 4, SIZE, SIZE)
    assert repaint(tiny_pipe.sd1(), known, half(), jump_length=3, jump_count=1)[1] == 6


def test_a_pass_can_be_repeated() -> None:
    pipe, known = tiny_pipe.sd1(), torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    first, second = (repaint(pipe, known, half(), jump_length=2, jump_count=2)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_the_plan_acts_on_what_is_repainted_to_the_end_of_the_way() -> None:
    known = torch.randn(1, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(5))
    stock, _ = repaint(tiny_pipe.sd1(), known, half(), jump_length=2, jump_count=2)
    for start, until in ((0.0, 0.2), (0.9, 1.0)):
        moved, _ = repaint(
            tiny_pipe.sd1(), known, half(), Plan(ContextUpdate(0.05, 0.0, start, until)), jump_length=2, jump_count=2
        )
        assert float((moved - stock).abs().max()) > 1e-6
