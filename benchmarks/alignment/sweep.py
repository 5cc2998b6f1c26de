"""The configurations of the study, the important ones first, and the rule by which one of each family is chosen.

The rule was fixed before any of them was run: on the tuning half, of the methods of a family that lose at most
PRICE of exact single objects against the plain model, the one whose pictures of three objects gain most of them; of
equals the gentlest. Chosen or not, a gain is only called one if it holds on the reporting half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .methods import Method, bcu, bent, boosted, plain
from .step_rules import (
    Clipped,
    Descent,
    LineSearch,
    Noise,
    OnlyPart,
    OnlyPixels,
    OnlyRows,
    OtherPicture,
    PerContext,
    PerToken,
    Several,
    Temperature,
)

PRICE = 0.02
CONTROLS = ("negative", "other picture", "noise")
PUBLISHED = bcu(0.01, 0.02)


def sweep(pixels: Sequence[int] = (256, 64, 16)) -> list[Method]:
    """Every configuration; `pixels` are the sizes of the model's cross-attention layers."""
    layers = tuple(pixels)
    methods = [plain(), PUBLISHED, *_sizes(), *_controls(), *_untuned()]
    methods += [*_windows(), *_places(layers), *_boosts(), *_priors(), *_rows(), *_further()]
    return methods


def brief(pixels: Sequence[int] = (256, 64, 16)) -> list[Method]:
    """Those of `sweep` that stand for every family, for a machine on which all of them would take days."""
    methods = [plain(), PUBLISHED, bcu(0.01), bcu(0.02), bcu(0.005), bcu(0.04), bcu(0.02, 0.02)]
    methods += [bcu(-0.01, family="negative"), *_controls()[:2]]
    methods += [bent(f"{share:g} of each token", "per token", 1.0, 0.0, PerToken(share)) for share in (0.02, 0.05)]
    methods.append(bent("0.05 of the context", "per context", 1.0, 0.0, PerContext(0.05)))
    methods.append(bent("0.1 nats lower", "descent", 1.0, 1.0, Descent(0.1)))
    methods.append(bent("line 0.03", "line search", 1.0, 1.0, LineSearch(0.03)))
    methods.append(bent("2 steps", "several steps", 0.01, 0.0, Several(2)))
    methods.append(bent("prior x 0", "temperature", 0.01, 0.1, Temperature(0.0)))
    methods += [bcu(0.02, family="window", until=0.5), bcu(0.02, family="window", start=0.2)]
    for count in pixels:
        side = round(count**0.5)
        methods.append(bent(f"only {side} x {side}", "layers", 0.02, 0.0, OnlyPixels(count)))
    methods += [boosted(0.01, 0.02, 2.5), boosted(0.01, 0.0, 5.0)]
    methods.append(bcu(0.01, 0.02, family="paper's prior", prior="paper"))
    methods.append(bent("conditional rows", "conditional rows", 0.02, 0.0, OnlyRows(True)))
    methods.append(bent("unconditional rows", "unconditional rows", 0.02, 0.0, OnlyRows(False)))
    return methods


def fixed() -> list[Method]:
    """What is reported whatever the tuning says: the plain model, the published settings and the controls."""
    return [plain(), PUBLISHED, bcu(0.01), bcu(0.02), bcu(-0.01, family="negative"), *_controls()[:2]]


def chosen(methods: Sequence[Method], gain: Mapping[str, float], price: Mapping[str, float]) -> list[Method]:
    """The best of each family but the controls, by the rule above.

    Args:
        gain: difference of the objects met from the plain model, by the method's name; what is missing was not run.
        price: difference of the rate of exact single objects.
    """
    best: dict[str, Method] = {}
    for method in methods:
        if method.name not in gain or method.family in (*CONTROLS, "plain") or price[method.name] < -PRICE:
            continue
        held = best.get(method.family)
        if held is None or (gain[method.name], -method.size) > (gain[held.name], -held.size):
            best[method.family] = method
    return sorted(best.values(), key=lambda method: -gain[method.name])


def _sizes() -> list[Method]:
    attn = [bcu(value) for value in (0.01, 0.005, 0.02, 0.0025, 0.015, 0.025, 0.04)]
    negative = [bcu(-value, family="negative") for value in (0.01, 0.005, 0.02, 0.0025, 0.015)]
    norm = [bcu(0.0, value) for value in (0.02, 0.04, 0.01)]
    both = [bcu(a, n) for a in (0.01, 0.005, 0.02) for n in (0.01, 0.02, 0.04) if (a, n) != (0.01, 0.02)]
    return [*attn, *negative, *both, *norm]


def _controls() -> list[Method]:
    found = []
    for attn in (0.01, 0.02, 0.005):
        found.append(bent("queries of another picture", "other picture", attn, 0.0, OtherPicture()))
        found.append(bent("noise of the same size", "noise", attn, 0.0, Noise()))
    return found


def _untuned() -> list[Method]:
    """Candidates for a step that needs no tuning; those that rescale the step ignore its size, so it is 1."""
    found = []
    for share in (0.02, 0.05, 0.01, 0.1):
        for norm in (0.0, 1.0):
            found.append(bent(f"{share:g} of each token", "per token", 1.0, norm, PerToken(share)))
            found.append(bent(f"{share:g} of the context", "per context", 1.0, norm, PerContext(share)))
    found.append(bent("-0.02 of each token", "negative", 1.0, 0.0, PerToken(-0.02)))
    found += [bent(f"{nats:g} nats lower", "descent", 1.0, 1.0, Descent(nats)) for nats in (0.1, 0.3, 0.03, 1.0, 0.01)]
    found += [bent(f"line {share:g}", "line search", 1.0, 1.0, LineSearch(share)) for share in (0.03, 0.01, 0.1, 0.3)]
    found += [bent(f"at most {share:g}", "clipped", 0.02, 0.0, Clipped(share)) for share in (0.02, 0.05)]
    for count in (2, 4):
        found += [bent(f"{count} steps", "several steps", attn, 0.0, Several(count)) for attn in (0.005, 0.0025, 0.01)]
    for scale in (0.0, 0.02, 0.1):
        for norm in (0.02, 0.1, 0.5):
            found.append(bent(f"prior x {scale:g}", "temperature", 0.01, norm, Temperature(scale)))
    return found


def _windows() -> list[Method]:
    until = [bcu(a, family="window", until=u) for a in (0.01, 0.02, 0.04) for u in (0.2, 0.5)]
    start = [bcu(a, family="window", start=s) for a in (0.01, 0.02) for s in (0.2, 0.5)]
    return [*until, *start]


def _places(pixels: Sequence[int]) -> list[Method]:
    found = []
    for attn in (0.01, 0.02, 0.04):
        for count in pixels:
            side = round(count**0.5)
            found.append(bent(f"only {side} x {side}", "layers", attn, 0.0, OnlyPixels(count)))
        for part in ("down", "mid", "up"):
            found.append(bent(f"only {part}", "layers", attn, 0.0, OnlyPart(f"{part}_block")))
    return found


def _boosts() -> list[Method]:
    return [boosted(a, n, factor) for a, n in ((0.01, 0.02), (0.005, 0.0), (0.01, 0.0)) for factor in (2.5, 2.0, 5.0)]


def _priors() -> list[Method]:
    return [bcu(a, n, family="paper's prior", prior="paper") for a, n in ((0.01, 0.02), (0.01, 0.04), (0.02, 0.02))]


def _rows() -> list[Method]:
    found = []
    for attn in (0.01, 0.02, 0.005, 0.04):
        found.append(bent("conditional rows", "conditional rows", attn, 0.0, OnlyRows(True)))
    for attn in (0.01, 0.02, -0.01):
        found.append(bent("unconditional rows", "unconditional rows", attn, 0.0, OnlyRows(False)))
    found.append(bent("conditional rows", "negative", -0.01, 0.0, OnlyRows(True)))
    return found


def _further() -> list[Method]:
    """What is tried if there is time: two ideas at once."""
    found = [bent("0.05 of each token, conditional rows", "per token", 1.0, 0.0, PerToken(0.05), OnlyRows(True))]
    found.append(bent("0.02 of each token, conditional rows", "per token", 1.0, 0.0, PerToken(0.02), OnlyRows(True)))
    found += [bcu(-a, -n, family="negative") for a, n in ((0.01, 0.02),)]
    return found
