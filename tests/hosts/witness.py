"""Calls of a UNet, and each of their rows again by itself: what the plan should have made of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca import Plan
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Picture, Rows, Timetable
from lib_ebca.hosts.prompts import PromptEncoder
from lib_ebca.hosts.unet import installed
from lib_ebca.language.directives import parse

PROMPT, NEGATIVE = "a cat on a sofa", "a dog"
PLAN = parse("<bcu:0.05:0.1:until=0.75> <edit:castle:0.5:attn=0.01:until=0.5>").plan


@dataclass
class Call:
    """One call of the UNet."""

    args: tuple[Any, ...]
    keywords: dict[str, Any]
    output: Tensor


class Witness:
    """What each row of a call should be, told by what prompts are encoded to and by the values of the timesteps."""

    def __init__(self, pipe: Any, steps: int, plan: Plan = PLAN) -> None:
        encoder = PromptEncoder(pipe)
        self.pipe, self.steps, self.plan = pipe, steps, plan
        self.own, self.negative = (encoder.encode(text).context for text in (PROMPT, NEGATIVE))
        self.edits = tuple(encoder.encode(edit.text).context for edit in plan.edits)
        self.seen: list[int] = []

    def sides(self, given: Tensor) -> list[bool | None]:
        """Conditional, unconditional, or neither."""
        found: list[bool | None] = []
        for row in given:
            if torch.equal(row, self.own):
                found.append(True)
            else:
                found.append(False if torch.equal(row, self.negative) else None)
        return found

    def number(self, timestep: Any) -> int:
        """Of the step within the pass."""
        value = float(torch.as_tensor(timestep).reshape(-1)[0])
        place = [float(each) for each in self.pipe.scheduler.timesteps].index(value)
        self.seen.append(place)
        return place - self.seen[0]

    def cascade(self, rows: int) -> Cascade:
        """A pass of the plan for as many pictures."""
        timetable = Timetable.of(self.plan, self.steps)
        return Cascade([Picture(self.edits)] * rows, [timetable] * rows, layers=None)


@contextmanager
def witnessed(pipe: Any) -> Iterator[list[Call]]:
    calls: list[Call] = []

    def before(module: Any, args: Any, keywords: Any) -> None:
        calls.append(Call(args, _copied(keywords), torch.empty(0)))

    def after(module: Any, args: Any, output: Any) -> None:
        calls[-1].output = (output[0] if isinstance(output, tuple) else output.sample).detach().clone()

    handles = [
        pipe.unet.register_forward_pre_hook(before, with_kwargs=True),
        pipe.unet.register_forward_hook(after),
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def argument(call: Call, place: int, name: str) -> Any:
    return call.args[place] if len(call.args) > place else call.keywords[name]


def row_of(value: Any, row: int, batch: int) -> Any:
    """One row of whatever has one for each row of the batch."""
    if isinstance(value, Tensor):
        return value[row : row + 1].detach() if value.ndim and value.shape[0] == batch else value
    if isinstance(value, dict):
        return {name: row_of(each, row, batch) for name, each in value.items()}
    if isinstance(value, (list, tuple)) and value:
        return type(value)([row_of(each, row, batch) for each in value])
    return value


def compared(pipe: Any, each: Call, witness: Witness) -> int:
    """How many rows of a call the plan acted on, after each was found to be what it is alone."""
    sample, given = argument(each, 0, "sample"), argument(each, 2, "encoder_hidden_states").detach()
    number, batch = witness.number(argument(each, 1, "timestep")), sample.shape[0]
    acted = 0
    for row, side in enumerate(witness.sides(given)):
        cascade = witness.cascade(1)
        args = [row_of(value, row, batch) for value in each.args]
        keywords = {name: row_of(value, row, batch) for name, value in each.keywords.items()}
        keywords["return_dict"] = False
        plain = pipe.unet.forward(*args, **_copied(keywords))[0]
        current = None if side is None else cascade
        if current is not None:
            current.begin(Rows((0,), (bool(side),)), (sample.shape[-2], sample.shape[-1]), number)
        with installed(pipe.unet, lambda current=current: current, pytest.fail):  # type: ignore[misc]  # mypy cannot infer a lambda's default
            alone = pipe.unet.forward(*args, **_copied(keywords))[0]
        assert torch.allclose(alone[0], each.output[row], atol=2e-5), (number, row, side)
        acted += not torch.allclose(plain[0], each.output[row], atol=1e-4)
    return acted


def _copied(keywords: dict[str, Any]) -> dict[str, Any]:
    """The UNet takes what adapters give it out of their lists."""
    return {name: list(each) if isinstance(each, list) else each for name, each in keywords.items()}
