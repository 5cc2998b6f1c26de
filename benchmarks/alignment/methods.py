"""The methods that are compared: a plan for each prompt, and, for the study, rules that bend the step."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from lib_ebca.language.directives import DirectiveError, parse
from lib_ebca.language.plan import Boost, ContextUpdate, Edit, Excite, Plan

from .prompts import Prompt
from .step_rules import Rule

PLAIN = "plain"


@dataclass(frozen=True)
class Method:
    """One way to make pictures. `family` groups what is tuned together; equal methods have equal names.

    `boost` is the factor of the prompt's nouns, of every content word where it names none; `excite` is asked for each
    of these nouns; `edit` is the strength of an edit for each of the prompt's phrases; `rules` take part in the
    benchmark alone. `directives` are asked for besides, whatever the prompt.
    """

    name: str
    family: str
    update: ContextUpdate | None = None
    boost: float | None = None
    excite: Excite | None = None
    edit: float | None = None
    rules: tuple[Rule, ...] = ()
    directives: Plan = field(default_factory=Plan)

    def plan(self, prompt: Prompt) -> Plan:
        """What is asked of the product for this prompt."""
        nouns = dict.fromkeys(prompt.nouns or ("*",))
        boosts = () if self.boost is None else tuple(Boost(noun, self.boost) for noun in nouns)
        excites = () if self.excite is None else tuple(replace(self.excite, word=noun) for noun in nouns)
        edits = () if self.edit is None else tuple(Edit(phrase, self.edit) for phrase in phrases(prompt.text))
        return self.directives.merged(Plan(self.update, edits, boosts=boosts, excite=excites))

    @property
    def size(self) -> float:
        """How hard it pushes; between methods that do equally well the gentler one is preferred."""
        update = self.update or ContextUpdate(0.0, 0.0)
        shares = [value for rule in self.rules for value in vars(rule).values() if isinstance(value, float)]
        excited = 0.0 if self.excite is None else self.excite.scale
        return excited + sum(map(abs, shares)) + abs(update.attn) * (self.boost or 1.0) + abs(update.norm)


def phrases(text: str) -> tuple[str, ...]:
    """What a prompt is made of, at "and" and "with": "a cat", "a red car". All, where published scores keep two."""
    return tuple(part.strip() for part in re.split(r"\b(?:and|with)\b", text) if part.strip())


def bcu(attn: float, norm: float = 0.0, family: str = "bcu", **rest: Any) -> Method:
    """The product's update, named after its numbers."""
    update = ContextUpdate(attn, norm, **rest)
    extras = "".join(
        f", {key} {value:g}" if isinstance(value, float) else f", {value} prior" for key, value in rest.items()
    )
    return Method(f"{attn:g}/{norm:g}{extras}", family, update)


def bent(name: str, family: str, attn: float, norm: float, *rules: Rule) -> Method:
    """An update whose step is bent by rules."""
    return Method(f"{name}, {attn:g}/{norm:g}", family, ContextUpdate(attn, norm), rules=rules)


def boosted(attn: float, norm: float, factor: float) -> Method:
    """The update with a stronger pull for the prompt's nouns."""
    return Method(f"nouns x {factor:g}, {attn:g}/{norm:g}", "boosts", ContextUpdate(attn, norm), boost=factor)


def plain() -> Method:
    """The model as it is."""
    return Method(PLAIN, PLAIN)


OFFERED: dict[str, Callable[[], Method]] = {
    PLAIN: plain,
    "bcu": lambda: Method("bcu", "bcu", ContextUpdate()),
    "bcu-gentle": lambda: Method("bcu-gentle", "bcu", ContextUpdate(0.005, 0.01)),
    "boosts": lambda: Method("boosts", "boosts", ContextUpdate(), boost=2.5),
    "edits": lambda: Method("edits", "edits", edit=0.5),
    "excite": lambda: Method("excite", "excite", excite=Excite("*")),
    "excite-bcu": lambda: Method("excite-bcu", "excite", ContextUpdate(), excite=Excite("*")),
    "excite-boosts": lambda: Method("excite-boosts", "excite", ContextUpdate(), boost=2.5, excite=Excite("*")),
}
"""What `ebca bench alignment --methods` knows."""


def offered(name: str) -> Method:
    """The method of that name, or the one that directives such as `<bcu:0.02:0.04>` spell.

    Raises:
        ValueError: it is neither; the sentence lists the names.
    """
    if name in OFFERED:
        return OFFERED[name]()
    try:
        parsed = parse(name)
    except DirectiveError as error:
        raise ValueError(f"method {name!r}: {error}") from None
    if parsed.text.strip() or not parsed.plan.active:
        raise ValueError(f"method {name!r} is not known: choose from {', '.join(OFFERED)}, or write directives")
    return Method(name, "directives", directives=parsed.plan)
