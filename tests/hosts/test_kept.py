"""What is kept between evaluations is made again when what it was made of changes in mid-pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca import Plan
from lib_ebca.hosts.diffusers import energy_attention
from lib_ebca.hosts.unet import cross_attention_layers
from lib_ebca.language.directives import parse
from tests import tiny_pipe
from tests.hosts.witness import NEGATIVE, PROMPT, Witness, compared, witnessed

STEPS = 4
PLANS = [
    parse("<edit:castle:0.5>").plan,
    parse("<bcu:0.05:0.1>").plan,
    parse("<edit:castle:0.5:attn=0.02:norm=0.01>").plan,
]


def layer(pipe: Any) -> Any:
    return cross_attention_layers(pipe.unet)[0][1]


def fading(pipe: Any) -> None:
    for module in pipe.unet.modules():
        if hasattr(module, "set_scale"):
            module.set_scale("default", 0.0)


def switched_off(pipe: Any) -> None:
    pipe.unet.disable_adapters()


def merged(pipe: Any) -> None:
    layer(pipe).to_k.merge()


def other_weights(pipe: Any) -> None:
    for name in ("to_k", "to_v"):
        weight = getattr(layer(pipe), name).weight
        with torch.no_grad():
            weight.copy_(1.5 * weight.roll(1))


def another_tensor(pipe: Any) -> None:
    weight = layer(pipe).to_v.weight
    layer(pipe).to_v.weight = torch.nn.Parameter(-weight.detach(), requires_grad=False)


@pytest.mark.parametrize("plan", PLANS, ids=["an edit that stays", "an update", "an edit that moves"])
@pytest.mark.parametrize("change", [fading, switched_off, merged, other_weights, another_tensor])
def test_a_change_in_mid_pass_counts_from_the_next_step_on(change: Callable[[Any], None], plan: Plan) -> None:
    with_lora = change in (fading, switched_off, merged)
    pipe = tiny_pipe.with_lora() if with_lora else tiny_pipe.sd1()
    pipe.unet.requires_grad_(False)
    changed: list[int] = []

    def after(pipe: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        if step == 1:
            changed.append(len(calls))
            change(pipe)
        return kept

    with energy_attention(pipe, plan) as run, witnessed(pipe) as calls:
        sample(pipe, callback_on_step_end=after)
    assert run.comments == [] and changed == [2]
    witness = Witness(pipe, STEPS, plan)
    witness.seen.append(witness.pipe.scheduler.timesteps.tolist().index(int(calls[0].args[1])))
    assert sum(compared(pipe, each, witness) for each in calls[changed[0] :])


@pytest.mark.parametrize("plan", PLANS[:1])
def test_an_embedding_that_is_changed_in_place_is_read_anew(plan: Plan) -> None:
    pipe = tiny_pipe.sd1()
    given: list[Tensor] = []
    handle = pipe.unet.register_forward_pre_hook(
        lambda module, args, keywords: given.append(keywords["encoder_hidden_states"]), with_kwargs=True
    )

    def changed(at: int | None) -> Tensor:
        def after(pipe: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
            if step == at:
                given[-1].mul_(1.5)
            return kept

        with energy_attention(pipe, plan) as run:
            found = sample(pipe, callback_on_step_end=after)
        assert run.comments == []
        return found

    early, late, never = changed(0), changed(2), changed(None)
    handle.remove()
    assert len({id(each) for each in given[:STEPS]}) == 1
    assert not torch.allclose(early, late, atol=1e-4)
    assert not torch.allclose(late, never, atol=1e-4)


def sample(pipe: Any, **asked: Any) -> Tensor:
    images: Tensor = pipe(
        PROMPT,
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        output_type="latent",
        generator=torch.Generator().manual_seed(0),
        **asked,
    ).images
    return images
