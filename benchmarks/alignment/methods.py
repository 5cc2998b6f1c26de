"""The methods that are compared: a plan for each prompt, and, for the study, rules that bend the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lib_ebca.language.plan import Boost, ContextUpdate, Excite, Plan

from .prompts import Prompt
from .step_rules import Rule

PLAIN = "plain"


@dataclass(frozen=True)
class Method:
    """One way to make pictures. `family` groups what is tuned together; equal methods have equal names.

    `boost` is the factor of the prompt's nouns, of every content word where it names none; `excite` is asked for each
    of these nouns; `rules` take part in the benchmark alone.
    """

    name: str
    family: str
    update: ContextUpdate | None = None
    boost: float | None = None
    excite: Excite | None = None
    rules: tuple[Rule, ...] = ()

    def plan(self, prompt: Prompt) -> Plan:
        """What is asked of the product for this prompt."""
        nouns = dict.fromkeys(prompt.nouns or ("*",))
        boosts = () if self.boost is None else tuple(Boost(noun, self.boost) for noun in nouns)
        excites = () if self.excite is None else tuple(replace(self.excite, word=noun) for noun in nouns)
        return Plan(self.update, boosts=boosts, excite=excites)

    @property
    def size(self) -> float:
        """How hard it pushes; between methods that do equally well the gentler one is preferred."""
        update = self.update or ContextUpdate(0.0, 0.0)
        shares = [value for rule in self.rules for value in vars(rule).values() if isinstance(value, float)]
        excited = 0.0 if self.excite is None else self.excite.scale
        return excited + sum(map(abs, shares)) + abs(update.attn) * (self.boost or 1.0) + abs(update.norm)


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
    "excite": lambda: Method("excite", "excite", excite=Excite("*")),
    "excite-bcu": lambda: Method("excite-bcu", "excite", ContextUpdate(), excite=Excite("*")),
    "excite-boosts": lambda: Method("excite-boosts", "excite", ContextUpdate(), boost=2.5, excite=Excite("*")),
}
"""What `ebca bench alignment --methods` knows."""


def offered(name: str) -> Method:
    """The method of that name. Raises ValueError, listing the known ones."""
    if name not in OFFERED:
        raise ValueError(f"method {name!r} is not known: choose from {', '.join(OFFERED)}")
    return OFFERED[name]()
