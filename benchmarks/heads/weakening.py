"""Ordered weakening: if a concept's vector is right, weakening its most relevant heads first loses the concept early.

Beside the two published orders stand random ones, and a uniform weakening of all heads by the same mean factor.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from lib_ebca.hosts.diffusers import energy_attention
from lib_ebca.language.concept import Concept
from lib_ebca.language.plan import Plan
from lib_ebca.methods.head_relevance import least_relevant_first, most_relevant_first, weakened_factors
from lib_ebca.methods.head_vectors import HeadVectors
from lib_ebca.studio.progress import Advance, silent
from world.statistics import Estimate, mean

MOST, LEAST, UNIFORM, RANDOM = "most relevant first", "least relevant first", "uniform", "random"
PUBLISHED_FACTOR = -2.0

Score = Callable[[Tensor, Sequence[int]], Sequence[float]]
"""Takes pictures (B, 3, h, w) in [0, 1] and the numbers of their prompts; a number for each, more for more of it."""


@dataclass(frozen=True)
class Condition:
    """`count` heads weakened in one of the orders."""

    order: str
    count: int

    @property
    def label(self) -> str:
        """A name without the signs that a concept's name may not have."""
        return f"{self.order}, {self.count}"


@dataclass(frozen=True)
class Weakening:
    """What is drawn.

    Attributes:
        prompts: every word of them is weakened.
        seeds: of the noise, one for each prompt.
        counts: how many heads, in ascending order; the first is 0 and the last is all of them.
        factor: of a weakened head's attention.
        randoms: how many random orders.
        steps: sampling steps.
        guidance: guidance scale.
    """

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    counts: tuple[int, ...]
    factor: float = PUBLISHED_FACTOR
    randoms: int = 1
    steps: int = 50
    guidance: float = 7.5


def orders(vector: Tensor, randoms: int, seed: int = 0) -> dict[str, list[int]]:
    """The heads in the order in which they are weakened: most and least relevant first, and random ones."""
    found = {MOST: most_relevant_first(vector), LEAST: least_relevant_first(vector)}
    for number in range(1, randoms + 1):
        shuffled = list(range(len(vector)))
        random.Random(seed * 1000 + number).shuffle(shuffled)
        found[f"{RANDOM} {number}"] = shuffled
    return found


def conditions(vector: Tensor, what: Weakening) -> dict[Condition, Tensor]:
    """The factors of all heads, (H,), in every condition; none and all heads weakened are drawn once."""
    heads = len(vector)
    found = {}
    for order, ranked in orders(vector, what.randoms).items():
        for count in what.counts:
            shared = count in (0, heads) and order != MOST
            if not shared:
                found[Condition(order, count)] = weakened_factors(ranked, count, what.factor, heads)
    for count in what.counts:
        if 0 < count < heads:
            share = 1 + (what.factor - 1) * count / heads
            found[Condition(UNIFORM, count)] = torch.full((heads,), share, dtype=torch.float64)
    return found


def draw(
    pipe: Any,
    vectors: HeadVectors,
    vector: Tensor,
    what: Weakening,
    score: Score,
    batch: int,
    advance: Advance = silent,
) -> dict[Condition, list[float]]:
    """The score of each prompt's picture in every condition.

    The factors travel as vectors of concepts that are the conditions, on a phrase that is the whole prompt.
    """
    made = conditions(vector, what)
    table = torch.stack(list(made.values())).float()
    weak = HeadVectors(tuple(each.label for each in made), table, vectors.heads, "weakened heads")
    scores: dict[Condition, list[float]] = {condition: [] for condition in made}
    done = 0
    for first in range(0, len(what.prompts), batch):
        numbers = range(first, min(first + batch, len(what.prompts)))
        for row, condition in enumerate(made):
            pictures = _drawn(pipe, weak, weak.concepts[row], condition.count, what, numbers)
            scores[condition] += score(pictures, numbers)
            done += len(numbers)
            advance(done, len(what.prompts) * len(made))
    return scores


def _drawn(pipe: Any, weak: HeadVectors, name: str, count: int, what: Weakening, numbers: Sequence[int]) -> Tensor:
    config = pipe.unet.config
    shape = (config.in_channels, config.sample_size, config.sample_size)
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(what.seeds[number])) for number in numbers]
    prompts = [what.prompts[number] for number in numbers]
    # Every factor counts as it is: nothing is clamped here.
    plans = [Plan(concepts=(Concept(prompt, ((name, 1.0),), clamp=1e6),)) if count else Plan() for prompt in prompts]
    with energy_attention(pipe, plans, vectors=weak) as run:
        pictures: Tensor = pipe(
            prompts,
            num_inference_steps=what.steps,
            guidance_scale=what.guidance,
            latents=torch.stack(noise).to(pipe.unet.device, pipe.unet.dtype),
            output_type="pt",
        ).images
    if run.comments:
        raise RuntimeError(run.comments[0])
    return pictures.float()


@dataclass(frozen=True)
class Curves:
    """What came out.

    Attributes:
        points: for each order the mean score at each count, with its interval.
        areas: for each order the area under its curve over the share of heads, in [0, 1] if scores are.
        gaps: the area under "least relevant first" less the others', prompt by prompt: above 0 the order has a meaning.
    """

    points: Mapping[str, Mapping[int, Estimate]]
    areas: Mapping[str, Estimate]
    gaps: Mapping[str, Estimate]


def curves(scores: Mapping[Condition, Sequence[float]], what: Weakening, clusters: Sequence[str]) -> Curves:
    """Curves, areas and paired differences of areas; intervals draw prompts with replacement.

    Args:
        scores: of :func:`draw`.
        what: what was drawn.
        clusters: for each picture what hangs together with it, for instance its prompt.
    """
    last = what.counts[-1]
    named = [MOST, LEAST, UNIFORM, *(f"{RANDOM} {number}" for number in range(1, what.randoms + 1))]
    by_order = {
        order: {count: list(scores[Condition(MOST if count in (0, last) else order, count)]) for count in what.counts}
        for order in named
    }
    # The random orders stand for one: their mean, picture by picture.
    randoms = [by_order.pop(order) for order in named[3:]]
    if randoms:
        by_order[RANDOM] = {
            count: [sum(each) / len(each) for each in zip(*(found[count] for found in randoms), strict=True)]
            for count in what.counts
        }
    areas = {order: _areas(found, last) for order, found in by_order.items()}
    return Curves(
        {order: {count: mean(values, clusters) for count, values in own.items()} for order, own in by_order.items()},
        {order: mean(own, clusters) for order, own in areas.items()},
        {
            order: mean([a - b for a, b in zip(areas[LEAST], own, strict=True)], clusters)
            for order, own in areas.items()
            if order != LEAST
        },
    )


def _areas(by_count: Mapping[int, Sequence[float]], heads: int) -> list[float]:
    """The area under each picture's curve, by trapezes, over the share of the heads."""
    counts = list(by_count)
    pictures = len(by_count[counts[0]])
    return [
        sum(
            (right - left) / heads * (by_count[left][picture] + by_count[right][picture]) / 2
            for left, right in pairwise(counts)
        )
        for picture in range(pictures)
    ]
