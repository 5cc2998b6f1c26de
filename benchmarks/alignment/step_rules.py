"""Steps of the context that the product does not offer: controls, and candidates for a step that needs no tuning.

Each rule takes the place of the product's own step, `lib_ebca.attention.layer._step`, for the length of a block,
and is written in terms of it. Rules wrap one another when several are installed. Nothing here is reached outside the
benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from lib_ebca.attention import layer
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.energy import split_heads
from lib_ebca.attention.moment import Update
from lib_ebca.attention.projections import Projections
from lib_ebca.hosts.patch import replaced

TRIALS = 16
FIRST_TRIAL = 5e-4


@dataclass(frozen=True, eq=False)
class Call:
    """The arguments of one step: R rows, T tokens, N pixels, width C, text width D.

    `query` is (R, heads, N, d), `keys` (R, T, C). `context` (R, T, D) is what the layer read, to which the step will be
    added; both are in float32.
    """

    layer: Projections
    cascade: Cascade
    query: Tensor
    keys: Tensor
    update: Update
    like: Tensor
    pixel_weight: Tensor | None
    token_bias: Tensor | None
    context: Tensor

    @property
    def scale(self) -> float:
        """beta, the scale of the scores."""
        return self.query.shape[-1] ** -0.5 if self.layer.scale is None else self.layer.scale

    @property
    def prior_scale(self) -> Tensor:
        """(R, 1): the factor of |k|^2 in the prior."""
        given = self.update.prior_scale
        return self.context.new_ones(self.keys.shape[0], 1) if given is None else given


Step = Callable[[Call], Tensor]


class Rule(Protocol):
    """A way to step. `inner` is the step that it replaces."""

    def step(self, inner: Step, call: Call) -> Tensor:
        """(R, T, D): the step of the context."""
        ...


@contextmanager
def installed(rules: Sequence[Rule]) -> Iterator[None]:
    """Let the product step by these rules; the last one is the outermost."""
    with ExitStack() as stack:
        for rule in rules:
            stack.enter_context(replaced(layer, "_step", _bent(rule, layer._step)))
        yield


def _bent(rule: Rule, inner: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def published(call: Call) -> Tensor:
        return inner(
            call.layer, call.cascade, call.query, call.keys, call.update, call.like, call.pixel_weight, call.token_bias
        )

    def step(
        layer: Projections,
        cascade: Cascade,
        query: Tensor,
        keys: Tensor,
        update: Update,
        like: Tensor,
        pixel_weight: Tensor | None = None,
        token_bias: Tensor | None = None,
    ) -> Tensor:
        assert cascade.evaluation is not None
        call = Call(layer, cascade, query, keys, update, like, pixel_weight, token_bias, cascade.evaluation.main)
        return rule.step(published, call)

    return step


@dataclass(frozen=True)
class OnlyPixels:
    """The update in the layers of that many pixels alone."""

    pixels: int

    def step(self, inner: Step, call: Call) -> Tensor:
        return inner(call) if call.query.shape[2] == self.pixels else torch.zeros_like(call.context)


@dataclass(frozen=True)
class OnlyPart:
    """The update in one part of the UNet alone: down_blocks, mid_block or up_blocks."""

    part: str

    def step(self, inner: Step, call: Call) -> Tensor:
        return inner(call) if call.layer.name.startswith(self.part) else torch.zeros_like(call.context)


@dataclass(frozen=True)
class OnlyRows:
    """The update on one side of guidance alone."""

    conditional: bool

    def step(self, inner: Step, call: Call) -> Tensor:
        assert call.cascade.evaluation is not None
        sides = call.cascade.evaluation.moment.rows.conditional
        kept = torch.tensor([side == self.conditional for side in sides], device=call.keys.device)
        return inner(call) * kept.view(-1, 1, 1)


@dataclass(frozen=True)
class OtherPicture:
    """Control: each picture's words are pulled by the pixels of the next picture of the batch."""

    def step(self, inner: Step, call: Call) -> Tensor:
        # The study always guides: its rows are all pictures without the prompt, then all with it.
        sides = call.query.unflatten(0, (2, -1))
        if sides.shape[1] < 2:
            raise ValueError("queries of another picture need a batch of at least two pictures")
        return inner(replace(call, query=sides.roll(1, dims=1).flatten(0, 1)))


@dataclass(frozen=True)
class Noise:
    """Control: each token moves as far as the update would move it, in a random direction."""

    seed: int = 0

    def step(self, inner: Step, call: Call) -> Tensor:
        step = inner(call)
        generator = torch.Generator(step.device)
        generator.manual_seed((self.seed * 1_000 + call.cascade.number) * 1_000 + call.layer.index)
        noise = torch.randn(step.shape, generator=generator, device=step.device, dtype=step.dtype)
        return noise * (_size(step) / _size(noise))


@dataclass(frozen=True)
class PerToken:
    """Each token moves by a given share of its own length, in the direction of the update."""

    share: float

    def step(self, inner: Step, call: Call) -> Tensor:
        step = inner(call)
        return step * (self.share * _size(call.context) / _size(step))


@dataclass(frozen=True)
class PerContext:
    """The context as a whole moves by a given share of its length, in the direction of the update."""

    share: float

    def step(self, inner: Step, call: Call) -> Tensor:
        step = inner(call)
        return step * (self.share * _size(call.context, (1, 2)) / _size(step, (1, 2)))


@dataclass(frozen=True)
class Clipped:
    """The update, but no token moves by more than a given share of its length."""

    share: float

    def step(self, inner: Step, call: Call) -> Tensor:
        step = inner(call)
        return step * (self.share * _size(call.context) / _size(step)).clamp(max=1)


@dataclass(frozen=True)
class Descent:
    """Down the true gradient of the posterior energy until it is lower, to first order, by `nats` per token and head.

    With delta the gradient step of length one, the energy falls by t |delta|^2, so t has a closed form.
    """

    nats: float

    def step(self, inner: Step, call: Call) -> Tensor:
        step = inner(replace(call, update=_gradient(call)))
        wanted = self.nats * step.shape[1] * call.layer.heads
        return step * (wanted / _size(step, (1, 2)).square())


@dataclass(frozen=True)
class LineSearch:
    """Down the true gradient of the posterior energy until a given share of what the line can give is reached.

    The energy along the line is computed exactly at TRIALS doubling step sizes; between them it is taken as straight.
    """

    share: float

    def step(self, inner: Step, call: Call) -> Tensor:
        step = inner(replace(call, update=_gradient(call)))
        return step * self._length(call, step).view(-1, 1, 1)

    def _length(self, call: Call, step: Tensor) -> Tensor:
        """(R,): how far to go."""
        lengths, gains = line_gains(call, step)
        best, end = gains.max(0)
        aim = self.share * best
        # Up to the best point gains need not rise all the way; the first that is enough counts.
        first = (gains >= aim).float().argmax(0).minimum(end)
        before = (first - 1).clamp(min=0)
        rows = torch.arange(gains.shape[1], device=gains.device)
        low, high = gains[before, rows], gains[first, rows]
        part = ((aim - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
        return torch.where(first > 0, lengths[before] + part * (lengths[first] - lengths[before]), 0.0)


@dataclass(frozen=True)
class Temperature:
    """Another factor of |k|^2 in the prior: 1 as published, 1/2 as in the paper, 0 shrinks all tokens alike."""

    scale: float

    def step(self, inner: Step, call: Call) -> Tensor:
        scale = torch.full_like(call.prior_scale, self.scale)
        return inner(replace(call, update=replace(call.update, prior_scale=scale)))


@dataclass(frozen=True)
class Several:
    """`count` steps in each layer, with the same queries and the keys made anew after each."""

    count: int

    def step(self, inner: Step, call: Call) -> Tensor:
        total = inner(call)
        for _ in range(self.count - 1):
            keys = call.layer.to_k((call.context + total).to(call.like.dtype))
            total = total + inner(replace(call, keys=keys))
        return total


def line_gains(call: Call, step: Tensor) -> tuple[Tensor, Tensor]:
    """The fall of the posterior energy E(K; Q) + E(K) along a step of the context.

    Returns:
        The lengths tried, (TRIALS + 1,), from 0, and the energy's fall at each, (TRIALS + 1, R).
    """
    change = call.layer.to_k(step.to(call.like.dtype))
    query = call.query.float()
    scores = call.scale * split_heads(call.keys.float(), call.layer.heads) @ query.transpose(-1, -2)
    slopes = call.scale * split_heads(change.float(), call.layer.heads) @ query.transpose(-1, -2)
    keys, change = call.keys.float(), change.float()
    norms, turn, growth = keys.square().sum(-1), 2 * (keys * change).sum(-1), change.square().sum(-1)

    def energy(length: float) -> Tensor:
        factor = call.prior_scale
        prior = (factor * (norms + length * turn + length * length * growth)).logsumexp(-1)
        return prior * 0.5 / factor[:, 0] - torch.add(scores, slopes, alpha=length).logsumexp(-1).sum((1, 2))

    lengths = [0.0, *(FIRST_TRIAL * 2**trial for trial in range(TRIALS))]
    energies = torch.stack([energy(length) for length in lengths])
    return torch.tensor(lengths, device=step.device, dtype=energies.dtype), energies[0] - energies


def _gradient(call: Call) -> Update:
    """Step sizes that make the product's step minus the gradient of E(K; Q) + E(K): beta and 1 for its two parts."""
    ones = torch.ones_like(call.prior_scale)[..., None]
    return Update(call.scale * ones, ones, call.update.prior_scale)


def _size(tensor: Tensor, dims: tuple[int, ...] = (2,)) -> Tensor:
    return torch.linalg.vector_norm(tensor, dim=dims, keepdim=True).clamp(min=1e-12)
