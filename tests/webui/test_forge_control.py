"""Beside what the Forge family has built in: a ControlNet, asked before each call, and a picture adapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

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


def test_options_are_handed_over_where_they_are_asked_for(host: Any) -> None:
    """As reForge's ControlNets ask."""
    handed: list[Any] = []

    class Asking(Control):
        def get_control(  # the host's own signature
            self, x: Tensor, t: Tensor, cond: Any, batched_number: int, transformer_options: Any = None
        ) -> dict[str, list[Any]]:
            handed.append(transformer_options)
            return super().get_control(x, t, cond, batched_number)

    host.shared.sd_model.forge_objects_after_applying_lora.unet.controlnet_linked_list = Asking(PICTURE)
    subjects(host, "a cat and a castle <excite:cat:scale=3000:refine=off>")
    assert any(options is not None and options["cond_or_uncond"] == [0] for options in handed)


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


@pytest.mark.parametrize("kind", ["attn2", "attn2_patch", "attn2_output_patch"])
def test_subjects_beside_another_extension_s_tensors_of_inference_mode(host: Any, kind: str) -> None:
    """Tokens that queries meet, as an IP-Adapter's do, and a layer for the states, as ControlNet-LLLite has."""
    with torch.inference_mode():
        tokens, layer = torch.randn(1, 4, 64), torch.nn.Linear(64, 64)

    def pictured(query: Tensor, key: Tensor, value: Tensor, extra: dict[str, Any]) -> Tensor:
        weights = (query @ key.mT / 8).softmax(-1) @ value
        return weights + (query @ tokens.mT / 8).softmax(-1) @ tokens

    patcher = host.shared.sd_model.forge_objects_after_applying_lora.unet
    if kind == "attn2":
        patcher.replace(("middle", 0), pictured)
    elif kind == "attn2_patch":
        patcher.patch(kind, lambda x, context, value, extra: (x + _wide(layer, x), context, value))
    else:
        patcher.patch(kind, lambda output, extra: output + _wide(layer, output))
    _, plain = subjects(host, "a cat and a castle")
    job, moved = subjects(host, "a cat and a castle <excite:cat:scale=3000:refine=off>")
    assert any("Subjects: the latent was moved in" in comment for comment in job.comments)
    assert not close(moved, plain)
    assert layer.weight.is_inference() and layer.weight.requires_grad


def _wide(layer: torch.nn.Module, states: Tensor) -> Tensor:
    """A layer of 64 on states of another width."""
    width = states.shape[-1]
    answer: Tensor = layer(torch.nn.functional.pad(states, (0, 64 - width)))
    return answer[..., :width]
