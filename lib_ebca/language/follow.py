"""The part of a plan that lets a picture follow another one of its batch (Prompt-to-Prompt)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lib_ebca.language.checks import PlanError, choice, filled_text, number, set_fields, window

ALIGNMENTS = ("auto", "replace", "refine")
PUBLISHED_CROSS = 0.8
PUBLISHED_SELF = 0.4

Span = tuple[float, float]


@dataclass(frozen=True)
class Follow:
    """A picture follows the attention of another one, which is drawn beside it from the same noise.

    `source` is the number of the followed prompt in its call, from 0. `cross` and `self_` are the shares of the pass in
    which the words' maps and the pixels' maps are the source's: a number for "from the start until", or two. `words`
    gives words a window of their own, {"red": 0.4}; `weights` multiplies their attention inside their window,
    {"smiling": 5}; words in `keep` keep their own map. `blend` are words of either prompt; where neither is looked at,
    the picture stays the source's, and `threshold` is a share of the strongest look. `align` is "replace" (word by
    word), "refine" (words put in), or "auto", which replaces where both prompts have as many words. `pixels` is the
    largest layer in which pixels follow, and the one whose maps blend; None: that of a quarter of the latent's sides.
    `published` reproduces the published alignment, whose words after a swapped one of other length are shifted. Raises
    PlanError.
    """

    source: int
    cross: float | Span = PUBLISHED_CROSS
    self_: float | Span = PUBLISHED_SELF
    words: Mapping[str, float | Span] | tuple[tuple[str, Span], ...] = ()
    weights: Mapping[str, float] | tuple[tuple[str, float], ...] = ()
    keep: tuple[str, ...] = ()
    blend: tuple[str, ...] = ()
    threshold: float = 0.3
    align: str = "auto"
    pixels: int | None = None
    published: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.source, bool) or not isinstance(self.source, int) or self.source < 0:
            raise PlanError("source", self.source, "the number of a prompt of the call, 0 being the first")
        for name in ("cross", "self_"):
            set_fields(self, **{name: _span(name, getattr(self, name))})
        windows = _pairs("words", self.words, "a mapping of words to shares of the pass, such as {'red': 0.4}")
        weights = _pairs("weights", self.weights, "a mapping of words to numbers, such as {'smiling': 5}")
        set_fields(
            self,
            words=tuple((word, _span(f"words[{word!r}]", span)) for word, span in windows),
            weights=tuple((word, number(f"weights[{word!r}]", value)) for word, value in weights),
            keep=_words("keep", self.keep),
            blend=_words("blend", self.blend),
            threshold=_share("threshold", self.threshold),
            align=choice("align", self.align, ALIGNMENTS),
        )
        if self.pixels is not None and (isinstance(self.pixels, bool) or not isinstance(self.pixels, int)):
            raise PlanError("pixels", self.pixels, "a whole number, or None")
        if not isinstance(self.published, bool):
            raise PlanError("published", self.published, "True or False")

    @property
    def cross_span(self) -> Span:
        """`cross` as from and until."""
        return _span("cross", self.cross)

    @property
    def self_span(self) -> Span:
        """`self_` as from and until."""
        return _span("self_", self.self_)

    @property
    def word_spans(self) -> tuple[tuple[str, Span], ...]:
        """`words` as pairs."""
        return tuple(_pairs("words", self.words, ""))

    @property
    def word_weights(self) -> tuple[tuple[str, float], ...]:
        """`weights` as pairs."""
        return tuple(_pairs("weights", self.weights, ""))


def follow_to_dict(follow: Follow) -> dict[str, Any]:
    """Plain JSON types, defaults left out; `Follow(**data)` is equal."""
    usual = Follow(follow.source)
    names = ("cross", "self_", "words", "weights", "keep", "blend", "threshold", "align", "pixels", "published")
    data = {name: _plain(getattr(follow, name)) for name in names if getattr(follow, name) != getattr(usual, name)}
    return {"source": follow.source, **data}


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _share(name: str, value: object) -> float:
    expected = "a share, from 0 to 1"
    share = number(name, value, expected)
    if not 0.0 <= share <= 1.0:
        raise PlanError(name, value, expected)
    return share


def _span(name: str, value: object) -> Span:
    try:
        if isinstance(value, (list, tuple)):
            start, until = value
            return window(start, until)
        return window(0.0, value)
    except (PlanError, ValueError):
        raise PlanError(name, value, "a share of the pass from 0 to 1, or two of them in order") from None


def _pairs(name: str, value: Any, expected: str) -> list[tuple[str, Any]]:
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise PlanError(name, value, expected)
    found = []
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise PlanError(name, value, expected)
        found.append((filled_text(name, pair[0], expected), pair[1]))
    return found


def _words(name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise PlanError(name, value, "a list of words")
    return tuple(filled_text(name, word, "made of words") for word in value)
