"""What one picture of a batch brings along: its contexts, its clock, and which rows of the batch are its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from lib_ebca.language.plan import Plan
from lib_ebca.language.schedule import concept_table, edit_table, strength_tables, update_table
from lib_ebca.methods.alignment import Alignment
from lib_ebca.methods.prompt_to_prompt import Span


@dataclass(frozen=True, eq=False)
class TokenFactors:
    """What the attention to some tokens of a picture's main context is multiplied by, after the softmax.

    Attributes:
        tokens: rows of the context.
        factor: for every head, unless `heads` says otherwise.
        heads: for each layer in the order of execution a factor for each head, (h,).
    """

    tokens: tuple[int, ...]
    factor: float = 1.0
    heads: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Blend:
    """Local blend: where a picture may differ from the one that it follows.

    Attributes:
        source_tokens: rows of the followed picture's context, the words that mark the region.
        own_tokens: rows of the picture's own context.
        threshold: share of a map's maximum.
        start: fraction of the pass from which on the latents are blended.
        pixels: of the layers whose maps are read; None: those at a quarter of the latent's height and width.
    """

    source_tokens: tuple[int, ...]
    own_tokens: tuple[int, ...]
    threshold: float = 0.3
    start: float = 0.0
    pixels: int | None = None


@dataclass(frozen=True, eq=False)
class Following:
    """What a picture takes from another of its batch, which it follows.

    Attributes:
        source: number of the followed picture.
        alignment: of the two prompts.
        cross: when columns follow, unless `words` says otherwise.
        words: rows of the own context with a window of their own.
        self_: when the self-attention follows.
        factors: (T,), the equaliser, or None.
        kept: rows of the own context that keep their own map.
        pixels: the largest layer whose self-attention follows; None: a quarter of the latent's height and width.
        blend: or None.
    """

    source: int
    alignment: Alignment
    cross: Span = (0.0, 0.8)
    words: tuple[tuple[tuple[int, ...], Span], ...] = ()
    self_: Span = (0.0, 0.4)
    factors: Tensor | None = None
    kept: tuple[int, ...] = ()
    pixels: int | None = None
    blend: Blend | None = None


@dataclass(frozen=True, eq=False)
class Picture:
    """The tensors of one picture's plan.

    Attributes:
        edits: the editorial prompts' contexts, (T_s, D) each.
        boosts: a factor for each row of the picture's main context, (T,), or None.
        mask: (H, W) in [0, 1] at any resolution; where it is 1 the picture pulls at its words. None: everywhere.
        factors: of the attention to tokens of the main context, in the conditional rows.
        following: what it takes from another picture of the batch, or None.
    """

    edits: tuple[Tensor, ...] = ()
    boosts: tuple[float, ...] | None = None
    mask: Tensor | None = None
    factors: tuple[TokenFactors, ...] = ()
    following: Following | None = None


@dataclass(frozen=True)
class Values:
    """A plan's numbers at one evaluation of the UNet; `factors` says which of the picture's factors are on."""

    attn: float = 0.0
    norm: float = 0.0
    prior: str = "published"
    strengths: tuple[float, ...] = ()
    edit_attn: tuple[float, ...] = ()
    edit_norm: tuple[float, ...] = ()
    factors: tuple[bool, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Timetable:
    """A plan's numbers over a pass; evaluations beyond the last entry repeat it."""

    values: tuple[Values, ...]

    @classmethod
    def of(cls, plan: Plan, steps: int) -> Timetable:
        """The numbers of ``plan`` over ``steps`` steps: steps + 1 entries, since PNDM evaluates once more.

        Raises PlanError where so few steps bring together edits whose windows the plan keeps apart.
        """
        count = steps + 1
        attn = norm = (0.0,) * count
        prior = "published"
        if plan.update is not None:
            attn, norm = update_table(plan.update, "attn", steps), update_table(plan.update, "norm", steps)
            prior = plan.update.prior
        strengths = strength_tables(plan.edits, steps)
        edit_attn = [edit_table(edit, "attn", steps) for edit in plan.edits]
        edit_norm = [edit_table(edit, "norm", steps) for edit in plan.edits]
        factors = [concept_table(concept, steps) for concept in plan.concepts]
        return cls(
            tuple(
                Values(
                    attn[i],
                    norm[i],
                    prior,
                    tuple(table[i] for table in strengths),
                    tuple(table[i] for table in edit_attn),
                    tuple(table[i] for table in edit_norm),
                    factors=tuple(table[i] for table in factors),
                )
                for i in range(count)
            )
        )

    def at(self, evaluation: int) -> Values:
        """The numbers at evaluation ``evaluation``, counted from 0."""
        return self.values[min(evaluation, len(self.values) - 1)]


@dataclass(frozen=True)
class Rows:
    """The batch of one evaluation: each row's picture, and whether it is on the conditional side of guidance.

    Attributes:
        picture: number of each row's picture.
        conditional: whether the row is on the conditional side.
        copies: how often a host repeats each row's context to bring it to the length of the others; empty for once.
        beside: whether it is a further evaluation of the same step, of which nothing is recorded.
    """

    picture: tuple[int, ...]
    conditional: tuple[bool, ...]
    copies: tuple[int, ...] = ()
    beside: bool = False

    def copies_of(self, row: int) -> int:
        """How often a row holds its context."""
        return self.copies[row] if self.copies else 1

    @classmethod
    def guided(cls, pictures: int) -> Rows:
        """Unconditional rows first, then conditional ones: what diffusers does under classifier-free guidance."""
        return cls(tuple(range(pictures)) * 2, (False,) * pictures + (True,) * pictures)

    @classmethod
    def plain(cls, pictures: int) -> Rows:
        """Conditional rows alone: guidance off."""
        return cls(tuple(range(pictures)), (True,) * pictures)
