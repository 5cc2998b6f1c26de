"""The clock of a pass: places of timesteps within the scheduler's, whatever the UNet is called for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, HeunDiscreteScheduler, PNDMScheduler

from lib_ebca.hosts.clock import Clock, executed_steps


def pipe(scheduler: Any, steps: int = 4, **parts: Any) -> Any:
    scheduler.set_timesteps(steps)
    return SimpleNamespace(scheduler=scheduler, **parts)


SCHEDULERS = [
    (DDIMScheduler(), 4, 4),
    (PNDMScheduler(skip_prk_steps=True), 5, 4),
    (HeunDiscreteScheduler(), 7, 7),
]


@pytest.mark.parametrize(("scheduler", "evaluations", "steps"), SCHEDULERS)
def test_every_evaluation_has_its_number_however_often_it_is_asked(
    scheduler: Any, evaluations: int, steps: int
) -> None:
    made = pipe(scheduler)
    clock = Clock(made)
    found = [clock.number(timestep) for timestep in made.scheduler.timesteps for _ in range(3)]
    assert found == [number for number in range(evaluations) for _ in range(3)]
    assert clock.steps == executed_steps(made) == steps


def test_heun_of_two_steps_is_not_taken_for_pndm() -> None:
    assert executed_steps(pipe(HeunDiscreteScheduler(), 2)) == 3


@pytest.mark.parametrize("first", [0, 1, 3])
def test_a_pass_begins_where_it_is_called_first(first: int) -> None:
    made = pipe(DDIMScheduler())
    clock = Clock(made)
    timesteps = made.scheduler.timesteps[first:]
    assert [clock.number(timestep) for timestep in timesteps] == list(range(4 - first))
    assert clock.steps == 4 - first
    assert clock.number(made.scheduler.timesteps[0]) == (0 if first == 0 else None)


def test_a_pass_that_ends_early_has_fewer_steps() -> None:
    assert executed_steps(pipe(DDIMScheduler(), _num_timesteps=3)) == 3
    assert executed_steps(pipe(PNDMScheduler(skip_prk_steps=True), _num_timesteps=3), first=2) == 3


@pytest.mark.parametrize("made_of", [int, float, lambda t: t.clone(), lambda t: t.expand(3).clone(), lambda t: t[None]])
def test_a_timestep_that_is_no_view_is_found_by_its_value(made_of: Any) -> None:
    made = pipe(DDIMScheduler())
    clock = Clock(made)
    assert [clock.number(made_of(timestep)) for timestep in made.scheduler.timesteps] == [0, 1, 2, 3]


def test_what_is_no_timestep_of_the_pass() -> None:
    inverse = DDIMInverseScheduler()
    inverse.set_timesteps(4)
    made = pipe(DDIMScheduler(), inverse_scheduler=inverse)
    clock = Clock(made)
    assert clock.number(torch.tensor(3)) is None
    assert clock.number(made.scheduler.timesteps[:3].clone()) is None
    assert clock.number(inverse.timesteps[0]) is None
    assert Clock(SimpleNamespace(scheduler=DDIMScheduler())).number(torch.tensor(1)) is None


def test_a_function_of_the_timestep_is_told_by_the_schedulers_own_index() -> None:
    made = pipe(HeunDiscreteScheduler())
    made.scheduler._step_index = 2
    assert Clock(made).number(torch.tensor(0.123)) == 0
