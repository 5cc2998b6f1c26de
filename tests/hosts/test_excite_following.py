"""Subjects of a picture that follows another: moved as alone where nothing is followed, and beside what is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lib_ebca.hosts.diffusers import energy_attention
from lib_ebca.language.excite import Excite
from lib_ebca.language.follow import Follow
from lib_ebca.language.plan import Plan

PROMPTS = ["a cat on a sofa", "a dog on a sofa"]
SUBJECT = Plan(excite=(Excite("dog", scale=1000.0, refine=False),))
NOISE = 1 / 2**11
"""What a batch of two rounds differently from one."""


def drawn(pipe: Any, plans: list[Plan], prompts: list[str]) -> tuple[Tensor, list[int]]:
    """The pictures, all of the same noise, and which of them were moved, step by step."""
    with energy_attention(pipe, plans) as run:
        images = pipe(
            prompts,
            negative_prompt=[""] * len(prompts),
            num_inference_steps=4,
            output_type="latent",
            generator=[torch.Generator().manual_seed(0) for _ in prompts],
        ).images
    return images, [record.picture for record in run.excited]


def test_a_follower_whose_windows_are_shut_is_moved_as_alone(pipe: Any) -> None:
    shut = replace(SUBJECT, follow=Follow(0, cross=0.0, self_=0.0))
    (source, target), moved = drawn(pipe, [Plan(), shut], PROMPTS)
    assert moved == [1, 1]
    for found, plan, prompt in ((source, Plan(), PROMPTS[0]), (target, SUBJECT, PROMPTS[1])):
        torch.testing.assert_close(found, drawn(pipe, [plan], [prompt])[0][0], rtol=0, atol=NOISE)


def test_a_follower_is_moved_and_its_source_is_not(pipe: Any) -> None:
    follow = Plan(follow=Follow(0, cross=1.0, self_=1.0))
    plain, _ = drawn(pipe, [Plan(), follow], PROMPTS)
    found, moved = drawn(pipe, [Plan(), follow.merged(SUBJECT)], PROMPTS)
    assert moved == [1, 1]
    torch.testing.assert_close(found[0], plain[0], rtol=0, atol=NOISE)
    assert float((found[1] - plain[1]).abs().max()) > 20 * NOISE
