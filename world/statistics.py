"""Rates and paired differences with their uncertainty. Pictures of one prompt hang together, so prompts are drawn."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959964
RESAMPLES = 4000
SEED = 20_230_616


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, and the number of pictures behind it."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """A method against another on the same items: difference of the means, and how likely chance alone gives it.

    `wins` and `losses` count the pictures that got better and worse; `p` is two-sided (sign test; for yes-or-no
    answers that is McNemar's exact test).
    """

    difference: Estimate
    wins: int
    losses: int
    p: float


def wilson(hits: int, n: int) -> Estimate:
    """A share with Wilson's score interval. Raises ValueError for n = 0."""
    if n < 1:
        raise ValueError("a share of no pictures has no value")
    share = hits / n
    middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half), n)


def mean(values: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """A mean with its bootstrap interval (percentiles), drawing clusters with replacement.

    Args:
        values: one for each picture.
        clusters: what each picture belongs to: its prompt.
    """
    if not len(values):
        raise ValueError("a mean of no pictures has no value")
    numbers: dict[Hashable, int] = {}
    index = [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]
    sums = np.bincount(index, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(index).astype(np.float64)
    value = float(sums.sum() / counts.sum())
    if len(counts) == 1:
        return Estimate(value, -math.inf, math.inf, len(values))
    draws = np.random.default_rng(SEED).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES)
    means = (draws @ sums) / (draws @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(value, float(low), float(high), len(values))


def rate(answers: Sequence[float], clusters: Sequence[Hashable]) -> Estimate:
    """The share of yes (1) among yes-or-no answers: Wilson's interval, or the bootstrap's where that is wider."""
    return _hull(mean(answers, clusters), wilson(round(sum(answers)), len(answers)))


def compare(
    ours: Sequence[float], theirs: Sequence[float], clusters: Sequence[Hashable], share: bool = True
) -> Comparison:
    """Ours minus theirs, picture by picture.

    Args:
        share: the values are yes-or-no answers. Then the interval holds Bonett and Price's as well:
            few pictures that all agree are not taken for certainty.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    wins, losses = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    difference = mean(differences, clusters)
    if share:
        difference = _hull(difference, paired_difference(wins, losses, len(differences)))
    return Comparison(difference, wins, losses, sign_test(wins, losses))


def paired_difference(wins: int, losses: int, n: int) -> Estimate:
    """Difference of two shares on the same n pictures, which differ in `wins` and `losses` of them.

    Source: Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data" (2012).
    """
    more, fewer = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    half = Z * math.sqrt((more + fewer - (more - fewer) ** 2) / (n + 2))
    return Estimate((wins - losses) / n, max(-1.0, more - fewer - half), min(1.0, more - fewer + half), n)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact probability that a fair coin gives a split at least as uneven."""
    n, fewer = wins + losses, min(wins, losses)
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return float(min(1.0, 2 * tail / 2**n))


def _hull(first: Estimate, second: Estimate) -> Estimate:
    """The first's value with the interval that holds both; an unbounded interval says nothing and is left out."""
    bounded = [estimate for estimate in (first, second) if math.isfinite(estimate.low)]
    return Estimate(first.value, min(e.low for e in bounded), max(e.high for e in bounded), first.n)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjustment for having looked at several: the adjusted probabilities, in the given order."""
    adjusted, worst = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = worst
    return adjusted
