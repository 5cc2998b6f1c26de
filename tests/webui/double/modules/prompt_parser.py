"""Prompt scheduling ([a:b:0.5], one level deep), AND, and the tensors that come of them."""

from __future__ import annotations

import re
from collections import namedtuple
from typing import Any

import torch
from torch import Tensor

ScheduledPromptConditioning = namedtuple("ScheduledPromptConditioning", ["end_at_step", "cond"])
_SCHEDULED = re.compile(r"\[([^\[\]:]*):([^\[\]:]*):([0-9.]+)\]")
_WEIGHT = re.compile(r"^(.*?)(?:\s*:\s*([-+]?[0-9.]+))?\s*$", re.DOTALL)


class SdConditioning(list[str]):
    def __init__(
        self, prompts: Any, is_negative_prompt: bool = False, width: int | None = None, height: int | None = None
    ) -> None:
        super().__init__(prompts)
        self.is_negative_prompt, self.width, self.height = is_negative_prompt, width, height


class Composable:
    def __init__(self, schedules: Any, weight: float = 1.0) -> None:
        self.schedules, self.weight = schedules, weight


class Multicond:
    def __init__(self, batch: list[list[Composable]]) -> None:
        self.batch = batch


def get_learned_conditioning_prompt_schedules(
    prompts: list[str], base_steps: int, hires_steps: int | None = None, use_old_scheduling: bool = False
) -> list[list[list[Any]]]:
    second = hires_steps is not None and not use_old_scheduling
    steps = hires_steps if hires_steps is not None and second else base_steps

    def step(when: str) -> int:
        """Fractions above one, and steps above the first pass's, lie in the second pass."""
        if use_old_scheduling:
            moved = float(when) * steps if float(when) < 1 else float(when)
        elif "." in when:
            moved = (float(when) - second) * steps
        else:
            moved = float(when) - base_steps * second
        return min(steps, int(moved))

    result = []
    for prompt in prompts:
        switches = [step(when) for _, _, when in _SCHEDULED.findall(prompt)]
        ends = sorted({end for end in switches if end >= 1} | {steps})
        stages = []
        for end in ends:

            def chosen(match: re.Match[str], end: int = end) -> str:
                return match[1] if end <= step(match[3]) else match[2]

            stages.append([end, _SCHEDULED.sub(chosen, prompt)])
        result.append(stages)
    return result


def get_learned_conditioning(
    model: Any, prompts: SdConditioning, steps: int, hires_steps: int | None = None, use_old_scheduling: bool = False
) -> list[list[ScheduledPromptConditioning]]:
    result = []
    for schedule in get_learned_conditioning_prompt_schedules(prompts, steps, hires_steps, use_old_scheduling):
        conditions = model.get_learned_conditioning(SdConditioning([text for _, text in schedule]))
        entries = []
        for i, (end, _) in enumerate(schedule):
            condition = {k: v[i] for k, v in conditions.items()} if isinstance(conditions, dict) else conditions[i]
            entries.append(ScheduledPromptConditioning(end, condition))
        result.append(entries)
    return result


def get_multicond_prompt_list(prompts: list[str]) -> tuple[list[list[tuple[int, float]]], list[str], dict[str, int]]:
    flat: list[str] = []
    indexes: list[list[tuple[int, float]]] = []
    known: dict[str, int] = {}
    for prompt in prompts:
        own = []
        for part in re.split(r"\bAND\b", prompt):
            match = _WEIGHT.match(part)
            assert match is not None
            text, weight = match[1], float(match[2] or 1.0)
            if text not in known:
                known[text] = len(flat)
                flat.append(text)
            own.append((known[text], weight))
        indexes.append(own)
    return indexes, flat, known


def get_multicond_learned_conditioning(
    model: Any, prompts: SdConditioning, steps: int, hires_steps: int | None = None, use_old_scheduling: bool = False
) -> Multicond:
    indexes, flat, _ = get_multicond_prompt_list(prompts)
    learned = get_learned_conditioning(model, SdConditioning(flat), steps, hires_steps)
    return Multicond([[Composable(learned[i], weight) for i, weight in own] for own in indexes])


def _now(schedule: list[ScheduledPromptConditioning], step: int) -> Any:
    entry = next((entry for entry in schedule if step <= entry.end_at_step), schedule[0])
    return entry.cond["crossattn"] if isinstance(entry.cond, dict) else entry.cond


def reconstruct_cond_batch(conditions: list[Any], step: int) -> Tensor:
    return _stacked([_now(schedule, step) for schedule in conditions])


def reconstruct_multicond_batch(conditions: Multicond, step: int) -> tuple[list[list[tuple[int, float]]], Tensor]:
    tensors: list[Tensor] = []
    listed = []
    for composables in conditions.batch:
        own = []
        for composable in composables:
            own.append((len(tensors), composable.weight))
            tensors.append(_now(composable.schedules, step))
        listed.append(own)
    return listed, _stacked(tensors)


def _stacked(tensors: list[Tensor]) -> Tensor:
    longest = max(len(tensor) for tensor in tensors)
    return torch.stack([torch.cat([each, each[-1:].expand(longest - len(each), -1)]) for each in tensors])
