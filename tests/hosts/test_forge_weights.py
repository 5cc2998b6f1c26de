"""The way back through a key projection of the Forge family, whatever its weight is stored as."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lib_ebca.attention.adjoint import NotLinearError, adjoint
from lib_ebca.hosts import forge
from lib_ebca.hosts.forge_weights import KeyProjection, fingerprint
from lib_ebca.language.directives import parse
from tests.hosts import forge_linears, tiny_forge
from tests.hosts.test_forge import UNCONDITIONAL_FIRST, called
from tests.hosts.test_ldm import PLANS, cascade

WEIGHT = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
ADDED = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
LIKE = torch.zeros(1, 3, 5)
STEP = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(2))


def scaled() -> nn.Module:
    found = forge_linears.Linear(WEIGHT)
    found.scale_weight = torch.tensor(0.5)
    return found


def added() -> nn.Module:
    found = forge_linears.Linear(WEIGHT)
    found.forge_online_loras["weight"] = ADDED
    return found


def functions() -> nn.Module:
    found = forge_linears.CastingLinear(WEIGHT)
    found.weight_function.append(lambda weight: weight + ADDED)
    return found


def biased() -> nn.Module:
    return forge_linears.Linear(WEIGHT, torch.randn(6, generator=torch.Generator().manual_seed(3)))


KINDS: dict[str, tuple[Any, Tensor, bool]] = {
    "plain": (lambda: forge_linears.Linear(WEIGHT), WEIGHT, True),
    "kind of nn.Linear": (lambda: forge_linears.CastingLinear(WEIGHT), WEIGHT, True),
    "half as wide": (lambda: forge_linears.Linear(WEIGHT.half()), WEIGHT.half().float(), True),
    "scaled": (scaled, WEIGHT * 0.5, False),
    "network on the fly": (added, WEIGHT + ADDED, False),
    "functions": (functions, WEIGHT + ADDED, False),
    "bias": (biased, WEIGHT, False),
    "packed": (lambda: forge_linears.PackedLinear(WEIGHT), WEIGHT, False),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_step_is_that_of_the_matrix_that_makes_the_keys(name: str) -> None:
    make, matrix, shown = KINDS[name]
    projection = KeyProjection(make())
    with torch.inference_mode():
        back = adjoint(projection, LIKE)(STEP)
    assert (back - STEP @ matrix).abs().max() < (0.05 if name == "packed" else 1e-5)
    # A matrix is kept only where the weight does not show it.
    assert (projection._matrix is None) == shown


def test_what_is_not_linear_is_refused() -> None:
    class Squared(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x**2) @ WEIGHT.T

    with pytest.raises(NotLinearError):
        KeyProjection(Squared()).adjoint(LIKE)(STEP)


@pytest.mark.parametrize("linear", [forge_linears.Linear, forge_linears.CastingLinear])
@pytest.mark.parametrize("inference", [False, True])
def test_other_weights_in_the_same_modules_are_noticed(linear: Any, inference: bool) -> None:
    """A refiner that is loaded over the first model, between two evaluations of a pass."""
    with torch.inference_mode(inference):
        unet = tiny_forge.unet(linear=linear)
        other = tiny_forge.unet(linear=linear, seed=5)
    plan = parse(PLANS["everything"]).plan

    def fresh() -> Any:
        score = cascade(plan)
        score.begin(UNCONDITIONAL_FIRST, (10, 6), number=0)
        return score

    scores = [fresh()]
    with forge.installed(other, lambda: scores[-1], lambda sentence: None):
        wanted = called(other)
    scores.append(fresh())
    with forge.installed(unet, lambda: scores[-1], lambda sentence: None, swapped=lambda: scores.append(fresh())):
        called(unet)
        with torch.inference_mode(inference):
            unet.load_state_dict(other.state_dict())
        assert len(scores) == 2
        assert torch.equal(called(unet), wanted)
        assert len(scores) == 3


def test_the_fingerprint_stays_while_nothing_changes() -> None:
    layers = [layer for _, layer in forge.cross_attention_layers(tiny_forge.unet())]
    assert fingerprint(layers) == fingerprint(layers)
