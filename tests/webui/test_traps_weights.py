"""What the host and others do to weights and attention: LoRA, float8, medvram, hypernetworks, optimisations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lib_ebca.hosts.ldm import cross_attention_layers
from tests.hosts import tiny_ldm
from tests.webui.asked import BCU, FULL, close, complaints


def test_16_a_lora_switched_between_batches(host: Any) -> None:
    """The host merges a LoRA into the weights when a layer first runs; editorial prompts are encoded anew with it."""
    layers: list[Any] = [module for _, module in cross_attention_layers(host.shared.sd_model.model.diffusion_model)]
    made = host.make(prompt="a cat <edit:dog:0.5> <bcu:0.05:0.1>")
    count = len(host.shared.sd_model.cond_stage_model.texts)
    with torch.no_grad():
        for layer in layers:
            layer.to_k.weight += 0.1 * torch.randn(layer.to_k.weight.shape, generator=torch.Generator().manual_seed(1))
    changed = host.make(prompt="a cat <edit:dog:0.5> <bcu:0.05:0.1> <lora:x:1>")
    assert "dog" in host.shared.sd_model.cond_stage_model.texts[count:]
    assert not close(changed[0], made[0])


def test_16_a_lora_that_is_never_merged(host: Any) -> None:
    linear: Any = nn.Linear
    original = linear.forward
    layers: set[Any] = {module.to_k for _, module in cross_attention_layers(host.shared.sd_model.model.diffusion_model)}

    def patched(self: Any, states: Tensor) -> Tensor:
        output: Tensor = original(self, states)
        return output * 1.5 if self in layers else output

    host.shared.opts.lora_functional = True
    linear.forward = patched
    try:
        on_the_fly = host.make(prompt=BCU)
    finally:
        linear.forward = original
    host.shared.opts.lora_functional = False
    with torch.no_grad():
        for layer in layers:
            layer.weight *= 1.5
    assert close(on_the_fly[0], host.make(prompt=BCU)[0])


def test_17_weights_stored_in_eight_bits(host: Any) -> None:
    """The host keeps weights in float8 and casts them when a layer runs."""
    linear: Any = nn.Linear
    original = linear.forward
    unet = host.shared.sd_model.model.diffusion_model
    stored: list[Any] = [
        module for _, attention in cross_attention_layers(unet) for module in (attention.to_k, attention.to_v)
    ]
    for module in stored:
        module.weight.data = module.weight.data.to(torch.float8_e4m3fn)

    def patched(self: Any, states: Tensor) -> Tensor:
        return nn.functional.linear(states, self.weight.to(states.dtype), self.bias)

    linear.forward = patched
    try:
        job = host.job(prompt=FULL)
        made = host.processing.process_images(job).images[0]
    finally:
        linear.forward = original
    assert not complaints(job)
    for module in stored:
        module.weight.data = module.weight.data.float()
    assert close(made, host.make(prompt=FULL)[0])


def test_17_weights_that_arrive_when_a_block_runs(host: Any) -> None:
    """medvram and lowvram move a block's weights in a forward pre-hook of the block."""
    made = host.make(prompt=FULL)
    unet = host.shared.sd_model.model.diffusion_model
    block = unet.middle_block
    kept = {name: parameter.data for name, parameter in block.named_parameters()}
    for parameter in block.parameters():
        parameter.data = torch.empty(0)

    def bring(module: nn.Module, _: Any) -> None:
        for name, parameter in module.named_parameters():
            parameter.data = kept[name]

    handle = block.register_forward_pre_hook(bring)
    try:
        assert torch.equal(host.make(prompt=FULL), made)
    finally:
        handle.remove()


@pytest.mark.parametrize("trait", ["hypernetwork", "upcast"])
def test_a_host_that_does_more_than_attend_is_called_itself(host: Any, trait: str) -> None:
    fused = host.make(prompt=FULL)
    if trait == "upcast":
        host.shared.opts.upcast_attn = True
    else:
        host.shared.loaded_hypernetworks.append(object())
    assert close(host.make(prompt=FULL)[0], fused[0])


def test_another_extension_owns_a_layer(host: Any) -> None:
    """IP-Adapter replaces an instance's forward."""
    layers = cross_attention_layers(host.shared.sd_model.model.diffusion_model)
    module: Any = layers[3][1]
    original, calls = module.forward, []

    def theirs(*args: Any, **keywords: Any) -> Tensor:
        calls.append(1)
        output: Tensor = original(*args, **keywords)
        return output + 0.1

    module.forward = theirs
    try:
        plain = host.make(prompt="a cat on a sofa")
        made = host.make(prompt=FULL)
        assert vars(module)["forward"] is theirs
        assert len(calls) > 8
        assert not close(made[0], plain[0])
    finally:
        del module.forward


@pytest.mark.parametrize("name", tiny_ldm.OPTIMISATIONS)
def test_an_optimisation_switched_between_jobs(host: Any, name: str) -> None:
    kind = tiny_ldm.attention_class()
    before = kind.forward
    made = host.make(prompt=FULL)
    kind.forward = tiny_ldm.OPTIMISATIONS[name]
    try:
        assert close(host.make(prompt=FULL)[0], made[0])
    finally:
        kind.forward = before
    assert torch.equal(host.make(prompt=FULL), made)
