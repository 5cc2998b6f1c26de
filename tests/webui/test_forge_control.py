"""Beside what the Forge family has built in: a ControlNet, asked before each call, and a picture adapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.hosts import tiny_ldm
from tests.hosts.forge_control import Control
from tests.webui import test_photo as on_a1111
from tests.webui.asked import FULL, close
from tests.webui.host import forge_model, network
from tests.webui.test_forge import PLAIN, subjects

PICTURE = torch.rand(1, 1, 24, 32, generator=torch.Generator().manual_seed(6))


@pytest.fixture(autouse=True)
def forge(host: Any) -> None:
    host.shared.sd_model = forge_model()


def put(host: Any, controls: int = 1, pictures: int = 1) -> list[Control]:
    """As many ControlNets in every pass."""
    chain: list[Control] = []
    for number in range(controls):
        picture = PICTURE.expand(pictures, -1, -1, -1).clone() * (number + 1)
        chain.append(Control(picture, chain[-1] if chain else None))
    host.shared.sd_model.forge_objects_after_applying_lora.unet.controlnet_linked_list = chain[-1]
    return chain


@contextmanager
def called_without(host: Any) -> Iterator[list[bool]]:
    """Whether each call of the network within the block comes without what the ControlNets answer."""
    seen: list[bool] = []

    def hook(unet: Any, args: Any, keywords: dict[str, Any]) -> None:
        seen.append(keywords.get("control") is None)

    with network(host.shared.sd_model).register_forward_pre_hook(hook, with_kwargs=True):
        yield seen


@pytest.mark.parametrize("controls", [1, 2])
def test_both_act(host: Any, controls: int) -> None:
    alone, plan = host.make(prompt=PLAIN), host.make(prompt=FULL)
    put(host, controls)
    plain, both = host.make(prompt=PLAIN), host.make(prompt=FULL)
    assert not close(plain, alone) and not close(both, plain) and not close(both, plan)
    assert torch.equal(host.make(prompt=PLAIN), plain)


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
@pytest.mark.parametrize("controls", [1, 2])
def test_subjects_are_seen_as_the_controlled_network_sees_them(host: Any, sampler: str, controls: int) -> None:
    chain = put(host, controls)
    _, plain = subjects(host, "a cat and a castle", sampler)
    with called_without(host) as seen:
        job, moved = subjects(host, "a cat and a castle <excite:cat:scale=3000:refine=off>", sampler)
    assert any("Subjects: the latent was moved in" in comment for comment in job.comments)
    assert not close(moved, plain)
    assert seen and not any(seen)
    # In the chain each is asked as often, and all are told of the host's calls again.
    assert all(control.asked == chain[0].asked for control in chain)
    assert (0,) in chain[0].asked
    assert all(control.transformer_options["cond_or_uncond"] == [1, 0] for control in chain)


def test_a_call_for_subjects_leaves_the_pictures_of_a_batch_fitted(host: Any) -> None:
    chain = put(host, pictures=4)
    hints: list[Tensor | None] = []
    prompt = ["a cat and a castle <excite:cat:scale=3000:refine=off>", "a castle"]
    host.make(prompt=prompt, batch_size=2, on_step=lambda _: hints.append(chain[0].cond_hint))
    # None before the host's first call, and from then on what that call made.
    assert len({id(hint) for hint in hints[1:]}) == 1
    assert hints[0] is None and hints[-1] is not None and len(hints[-1]) == 4


def test_a_picture_comes_back_from_its_inversion(host: Any) -> None:
    unet: Any = network(host.shared.sd_model)
    with torch.no_grad():
        for parameter in unet.out[-1].parameters():
            parameter *= 0.1
    put(host)
    with called_without(host) as seen:
        picture, _, _ = on_a1111.run(host, **on_a1111.asked())
    assert seen and not any(seen)
    assert (picture - on_a1111.latent()[0]).abs().max() < 2e-3


@pytest.mark.parametrize("sampler", ["Euler", "DDIM"])
def test_subjects_beside_a_picture_adapter_whose_weights_are_of_inference_mode(host: Any, sampler: str) -> None:
    with torch.inference_mode():
        tokens, projection = torch.randn(1, 4, tiny_ldm.CONTEXT), torch.nn.Linear(tiny_ldm.CONTEXT, 64)

    def pictured(query: Tensor, key: Tensor, value: Tensor, extra: dict[str, Any]) -> Tensor:
        added = projection(tokens).repeat(len(query), 1, 1)
        weights = (query @ key.mT / 8).softmax(-1) @ value
        return weights + (query @ added.mT / 8).softmax(-1) @ added

    patcher = host.shared.sd_model.forge_objects_after_applying_lora.unet
    patcher.replace(("middle", 0), pictured)
    patcher.patch("attn2_output_patch", lambda output, extra: output * tokens.mean())
    _, plain = subjects(host, "a cat and a castle", sampler)
    job, moved = subjects(host, "a cat and a castle <excite:cat:scale=3000:refine=off>", sampler)
    assert any("Subjects: the latent was moved in" in comment for comment in job.comments)
    assert not close(moved, plain)
    assert projection.weight.is_inference() and projection.weight.requires_grad
