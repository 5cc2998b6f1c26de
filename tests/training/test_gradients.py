"""A compiled network is trained only if it learns what the plain one does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.gradients import WrongGradientsError, gradient_of, refuse_other_gradient


class HalfTurned(torch.autograd.Function):
    """The same value; of its gradient every other column is turned: right forward, wrong back."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        turned = grads[0].clone()
        turned[:, ::2] *= -1
        return turned


def test_a_wrong_backward_pass_is_refused_and_rounding_is_not() -> None:
    torch.manual_seed(0)
    network, x = nn.Linear(6, 6), torch.randn(4, 6)
    unused = nn.Linear(2, 2)
    module = nn.ModuleList([network, unused])
    right = gradient_of(module, lambda: network(x).square().sum())
    assert right.shape == (sum(p.numel() for p in module.parameters()),)
    network(x).square().sum().backward()
    assert network.weight.grad is not None and torch.equal(right[:36], network.weight.grad.flatten())
    assert right[42:].abs().max() == 0
    refuse_other_gradient(right, right + 0.01 * right.std() * torch.randn_like(right))
    wrong = gradient_of(module, lambda: HalfTurned.apply(network(x)).square().sum())
    for other in (wrong, torch.full_like(right, torch.nan)):
        with pytest.raises(WrongGradientsError, match="leave --compile out"):
            refuse_other_gradient(right, other)
