"""The parts of a plan that act inside the cross-attention layers: the update, the edits and the boosts."""

from __future__ import annotations

from dataclasses import dataclass

from lib_ebca.language.checks import PlanError, choice, filled_text, number, set_fields, window, word_and_occurrence

PUBLISHED_ATTN = 0.01
PUBLISHED_NORM = 0.02
SCHEDULES = ("constant", "step", "reverse_step", "linear", "exp")
PRIORS = ("published", "paper")

_RATIO_SCHEDULES = ("linear", "exp")


@dataclass(frozen=True)
class ContextUpdate:
    """One gradient step of the main context per cross-attention layer (BCU; the paper's Eq. 8).

    `attn` and `norm` are the step sizes gamma_attn and gamma_norm, without units; negative ones are allowed, as a
    control. `start` and `until` are fractions of the pass. `ratio` belongs to the schedules linear and exp alone.
    `prior` is "published" (the authors' code: no one half before |k|^2) or "paper" (with it).
    Raises PlanError.
    """

    attn: float = PUBLISHED_ATTN
    norm: float = PUBLISHED_NORM
    start: float = 0.0
    until: float = 1.0
    schedule: str = "constant"
    ratio: float | None = None
    prior: str = "published"

    def __post_init__(self) -> None:
        start, until = window(self.start, self.until)
        schedule = choice("schedule", self.schedule, SCHEDULES)
        if schedule in _RATIO_SCHEDULES:
            expected = f"a finite number, which the schedule {schedule} needs"
            set_fields(self, ratio=number("ratio", self.ratio, expected))
        elif self.ratio is not None:
            raise PlanError("ratio", self.ratio, f"left out, for the schedule {schedule} has none (linear and exp do)")
        set_fields(self, attn=number("attn", self.attn), norm=number("norm", self.norm), start=start, until=until)
        choice("prior", self.prior, PRIORS)

    @property
    def active(self) -> bool:
        """Whether it changes anything at any moment of a pass."""
        return (self.attn != 0.0 or self.norm != 0.0) and _ever_on(self.start, self.until)


@dataclass(frozen=True)
class Edit:
    """One editorial prompt, averaged into the output of every cross-attention layer (CACAO).

    `text` is an ordinary prompt, emphasis and all. The sign of `strength` (alpha) is its direction: positive adds,
    negative takes away. `attn` and `norm` are BCU on the editorial context, in the same window unless `gamma_start` or
    `gamma_until` gives them an end of their own (the published alpha_tau is `start`, gamma_tau `gamma_start`; steps
    outside the strength's window count under drift alone). Raises PlanError.
    """

    text: str
    strength: float
    start: float = 0.0
    until: float = 1.0
    attn: float = 0.0
    norm: float = 0.0
    gamma_start: float | None = None
    gamma_until: float | None = None

    def __post_init__(self) -> None:
        start, until = window(self.start, self.until)
        try:
            window(*self.gamma_window)
        except PlanError as error:
            expected = error.expected.replace("at most until", "at most the end of the gammas' window")
            raise PlanError(f"gamma_{error.field}", error.value, expected) from None
        for name in ("gamma_start", "gamma_until"):
            if getattr(self, name) is not None:
                set_fields(self, **{name: number(name, getattr(self, name))})
        set_fields(self, text=filled_text("text", self.text, "a prompt that is not empty"), start=start, until=until)
        for name in ("strength", "attn", "norm"):
            set_fields(self, **{name: number(name, getattr(self, name))})

    @property
    def gamma_window(self) -> tuple[float, float]:
        """From and until of `attn` and `norm`."""
        start = self.start if self.gamma_start is None else self.gamma_start
        return start, self.until if self.gamma_until is None else self.gamma_until

    @property
    def active(self) -> bool:
        """Whether it changes anything at any moment of a pass."""
        return self.strength != 0.0 and _ever_on(self.start, self.until)


@dataclass(frozen=True)
class Boost:
    """A stronger pull of the picture for a word or phrase: it multiplies that word's part of the update's `attn` term.

    "*" stands for every content word. "shirt#2" is the second shirt: the same as word "shirt", occurrence 2.
    Without an occurrence every one is meant. Raises PlanError.
    """

    word: str
    factor: float
    occurrence: int | None = None

    def __post_init__(self) -> None:
        word, occurrence = word_and_occurrence(self.word, self.occurrence)
        factor = number("factor", self.factor, "a finite number of at least 0")
        if factor < 0.0:
            raise PlanError("factor", factor, "a finite number of at least 0")
        set_fields(self, word=word, occurrence=occurrence, factor=factor)


def _ever_on(start: float, until: float) -> bool:
    return start < until or until == 1.0
