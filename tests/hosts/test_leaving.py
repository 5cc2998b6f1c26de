"""Blocks that end in any order, hooks on top, copies, threads and interruptions: nothing of ours stays."""

from __future__ import annotations

import copy
import gc
import io
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from accelerate import hooks
from diffusers import StableDiffusionPipeline
from torch import Tensor

from lib_ebca.hosts.diffusers import HostError, encoded, energy_attention
from lib_ebca.hosts.patch import replaced, shadow_of
from lib_ebca.hosts.unet import cross_attention_layers
from lib_ebca.language.directives import parse
from tests import tiny_pipe

PLAN = parse("<bcu:0.05:0.1> <edit:dog:0.5>").plan


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny_pipe.sd1()


def picture(pipe: Any, **asked: Any) -> Tensor:
    images: Tensor = pipe(
        "a cat",
        negative_prompt="",
        num_inference_steps=1,
        output_type="latent",
        generator=torch.Generator().manual_seed(0),
        **asked,
    ).images
    return images


def left(pipe: Any) -> list[str]:
    """The names of everything of ours that is still there."""
    owners = [pipe, pipe.unet, pipe.scheduler, *(module for _, module in cross_attention_layers(pipe.unet))]
    found = [name for owner in owners for name, value in vars(owner).items() if shadow_of(value) is not None]
    found += [name for owner in owners for name in vars(owner) if name == "__reduce_ex__"]
    return found + [str(hook) for hook in pipe.unet._forward_pre_hooks.values()]


def neighbour(pipe: Any) -> Any:
    return tiny_pipe.quiet(StableDiffusionPipeline(**pipe.components, requires_safety_checker=False))


def test_blocks_of_two_pipelines_on_one_unet_may_end_in_any_order(pipe: Any) -> None:
    other, plain = neighbour(pipe), picture(pipe)
    with energy_attention(pipe, PLAN):
        alone = picture(pipe)
        assert torch.equal(picture(other), plain)
    first, second = energy_attention(pipe, PLAN), energy_attention(other, PLAN)
    first.__enter__()
    second.__enter__()
    assert torch.equal(picture(pipe), alone)
    assert torch.equal(picture(other), alone)
    first.__exit__(None, None, None)
    assert torch.equal(picture(pipe), plain)
    assert torch.equal(picture(other), alone)
    second.__exit__(None, None, None)
    assert torch.equal(picture(pipe), plain)
    assert not left(pipe)
    assert not left(other)


def test_what_others_put_on_top_of_ours_or_below_stays_and_ours_goes() -> None:
    class Owner:
        def told(self) -> str:
            return "class"

    owner: Any = Owner()
    with replaced(owner, "told", lambda: "ours"):
        ours = owner.told
        owner.told = theirs = lambda: f"theirs over {ours()}"
        assert owner.told() == "theirs over ours"
    assert owner.told is theirs
    assert owner.told() == "theirs over class"


def test_a_hook_put_on_top_and_taken_away_later_does_not_bring_ours_back(pipe: Any) -> None:
    plain = picture(pipe)
    _, module = cross_attention_layers(pipe.unet)[0]
    with energy_attention(pipe, PLAN):
        hooks.add_hook_to_module(module, hooks.ModelHook())
        changed = picture(pipe)
    assert torch.equal(picture(pipe), plain)
    hooks.remove_hook_from_module(module)
    assert torch.equal(picture(pipe), plain)
    assert not left(pipe)
    assert not torch.allclose(changed, plain, atol=1e-5)
    del module.forward


def test_copies_made_within_a_block_are_plain(pipe: Any) -> None:
    plain = picture(pipe)
    with energy_attention(pipe, PLAN):
        copied = copy.deepcopy(pipe.unet)
        file = io.BytesIO()
        torch.save(pipe.unet, file)
    file.seek(0)
    for unet in (copied, torch.load(file, weights_only=False)):
        assert all("forward" not in vars(module) for module in unet.modules())
        sample, context = torch.randn(1, 4, 8, 8), torch.randn(1, 7, 32)
        assert torch.equal(unet(sample, 1, context).sample, pipe.unet(sample, 1, context).sample)
    assert torch.equal(picture(pipe), plain)


def test_a_plan_within_a_plan_is_refused_and_emphasis_may_stand_around_one(pipe: Any) -> None:
    with energy_attention(pipe, PLAN):
        with pytest.raises(HostError, match="merge the plans"), energy_attention(pipe, PLAN):
            pass
        within = picture(pipe)
    with encoded(pipe), energy_attention(pipe, PLAN):
        assert torch.equal(picture(pipe), within)
    assert not left(pipe)


def test_a_second_thread_in_a_call_is_refused(pipe: Any) -> None:
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            picture(pipe)
        except HostError as error:
            caught.append(error)

    def meanwhile(pipe: Any, step: int, timestep: Any, kept: dict[str, Any]) -> dict[str, Any]:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return kept

    with energy_attention(pipe, PLAN):
        picture(pipe, callback_on_step_end=meanwhile)
    assert len(caught) == 1
    assert "a pipeline of its own" in str(caught[0])


@pytest.fixture
def quick_collections() -> Iterator[None]:
    """Collections of garbage look at what was made since alone: over all that the libraries hold each takes 0.26 s."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Interrupter:
    """Raises KeyboardInterrupt at a line of our own host code, counted from 0."""

    def __init__(self, at: int) -> None:
        self.at, self.seen, self.fired = at, 0, False

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if "lib_ebca/hosts" not in name and not name.endswith("contextlib.py"):
            return None
        if event == "line":
            self.seen += 1
            if self.seen > self.at and not self.fired:
                self.fired = True
                raise KeyboardInterrupt
        return self


def interrupted_block(pipe: Any, interrupter: Interrupter, entering: bool) -> None:
    """A block in a frame of its own, which alone holds it, as in anybody's program."""
    sys.settrace(interrupter if entering else None)
    with energy_attention(pipe, PLAN):
        sys.settrace(None if entering else interrupter)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_collections")
@pytest.mark.parametrize("entering", [True, False])
def test_an_interruption_at_any_line_of_entry_and_exit_changes_no_later_picture(pipe: Any, entering: bool) -> None:
    plain, at = picture(pipe), 0
    while True:
        interrupter = Interrupter(at)
        try:
            interrupted_block(pipe, interrupter, entering)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        if not interrupter.fired:
            break
        if left(pipe):
            assert torch.equal(picture(pipe), plain), f"line {at}"
            gc.collect()
            with energy_attention(pipe, PLAN):
                pass
            assert not left(pipe), f"line {at}"
        at += 1
    assert at > 50
    assert torch.equal(picture(pipe), plain)
