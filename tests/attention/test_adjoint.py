"""<g, W_k c> = <adjoint(g), c>, whatever the key projection is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from lib_ebca.attention.adjoint import NotLinearError, adjoint, key_matrix
from tests.tiny_attention import noise

TEXT, WIDTH = 20, 12


def linear(bias: bool = False, dtype: torch.dtype = torch.float64) -> nn.Linear:
    """A random projection of the text to the width of a layer."""
    layer = nn.Linear(TEXT, WIDTH, bias=bias, dtype=dtype)
    layer.weight.data = noise(WIDTH, TEXT, seed=1, dtype=dtype)
    if bias:
        layer.bias.data = noise(WIDTH, seed=2, dtype=dtype)
    return layer


def with_lora(**options: Any) -> nn.Module:
    """A projection that carries a LoRA with weights other than zero, not merged into it."""
    holder = nn.ModuleDict({"to_k": linear()})
    settings = LoraConfig(r=3, lora_alpha=5, target_modules=["to_k"], init_lora_weights=False, **options)
    return inject_adapter_in_model(settings, holder).double().eval()["to_k"]


def with_merged_lora() -> nn.Module:
    to_k = with_lora()
    to_k.merge()  # type: ignore[operator]  # peft's layer is typed as a plain module
    return to_k


class Half(nn.Module):
    """The keys out of fused projections of keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(TEXT, 2 * WIDTH, bias=False, dtype=torch.float64)

    def forward(self, context: Tensor) -> Tensor:
        return self.both(context)[..., :WIDTH]


class Quantised(nn.Module):
    """Weights in eight bits with a scale for each row."""

    def __init__(self) -> None:
        super().__init__()
        weight = linear().weight.data
        self.scales = weight.abs().amax(1, keepdim=True) / 127
        self.levels = (weight / self.scales).round().to(torch.int8)

    def forward(self, context: Tensor) -> Tensor:
        return F.linear(context, self.levels.to(context.dtype) * self.scales.to(context.dtype))


class OpaqueWeight(Tensor):
    """A weight of its own kind inside an ordinary Linear, as quantisers make them: it knows the linear map alone."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (Tensor.__matmul__, Tensor.__rmatmul__, torch.matmul):
            raise NotImplementedError("only F.linear")
        return super().__torch_function__(function, types, args, kwargs or {})


def with_opaque_weight() -> nn.Module:
    to_k = linear()
    to_k.weight = nn.Parameter(to_k.weight.data.as_subclass(OpaqueWeight), requires_grad=False)
    return to_k


def patched() -> nn.Module:
    """A Linear with a bias, whose forward a host has replaced on the instance."""
    to_k, extra = linear(bias=True), noise(WIDTH, TEXT, seed=3)
    stock = to_k.forward
    vars(to_k)["forward"] = lambda context: stock(context) + context @ extra.T
    return to_k


def hooked() -> nn.Module:
    to_k = linear()
    to_k.register_forward_hook(lambda module, args, keys: 1.5 * keys)
    return to_k


KINDS: dict[str, Callable[[], nn.Module]] = {
    "plain": linear,
    "bias": lambda: linear(bias=True),
    "LoRA": with_lora,
    "DoRA": lambda: with_lora(use_dora=True),
    "merged LoRA": with_merged_lora,
    "half of fused projections": Half,
    "quantised": Quantised,
    "opaque weight": with_opaque_weight,
    "patched forward": patched,
    "hook": hooked,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_adjoint_of(kind: str) -> None:
    to_k = KINDS[kind]()
    context, step = noise(2, 5, TEXT, seed=5), noise(2, 5, WIDTH, seed=6)
    with torch.no_grad():
        keys = to_k(context) - to_k(torch.zeros_like(context))
        back = adjoint(to_k, context)(step)
    assert back.shape == context.shape
    torch.testing.assert_close((step * keys).sum(), (back * context).sum(), rtol=1e-12, atol=1e-12)


def test_a_plain_linear_is_its_weight_as_it_is_now() -> None:
    to_k, step = linear(bias=True), noise(2, 5, WIDTH)
    back = adjoint(to_k, noise(1, 1, TEXT))
    assert torch.equal(back(step), step @ to_k.weight)
    to_k.weight.data *= 2
    assert torch.equal(back(step), step @ to_k.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_lora_in_short_precision(dtype: torch.dtype) -> None:
    to_k = with_lora().to(dtype)
    step = noise(2, 5, WIDTH, dtype=dtype)
    exact = adjoint(to_k.double(), noise(1, 1, TEXT))(step.double())
    short = adjoint(to_k.to(dtype), noise(1, 1, TEXT, dtype=dtype))(step)
    assert short.dtype == dtype
    torch.testing.assert_close(short.double(), exact, rtol=0.02, atol=20 * torch.finfo(dtype).eps)


def test_activations_that_are_quantised_on_the_fly_pass_for_linear() -> None:
    class OnTheFly(nn.Linear):
        def forward(self, context: Tensor) -> Tensor:
            scale = context.abs().amax(-1, keepdim=True).clamp_min(1e-4) / 127
            return super().forward((context / scale).round() * scale)

    to_k = OnTheFly(768, 320, bias=False, dtype=torch.float16)
    torch.testing.assert_close(key_matrix(to_k, torch.zeros(1, 1, 768, dtype=torch.float16)), to_k.weight.data)


def test_under_autocast_the_keys_type_counts() -> None:
    to_k = with_lora().float()
    with torch.autocast("cpu", torch.bfloat16):
        matrix = key_matrix(to_k, noise(1, 1, TEXT, dtype=torch.float32))
    assert matrix.shape == (WIDTH, TEXT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("bend", [nn.GELU(), nn.Tanh(), nn.LayerNorm(320, elementwise_affine=False)])
def test_what_is_not_linear_is_refused(bend: nn.Module, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    to_k = nn.Sequential(nn.Linear(768, 320, bias=False), bend).to(dtype)
    with pytest.raises(NotLinearError, match="Sequential is not a linear map"):
        adjoint(to_k, torch.zeros(1, 1, 768, dtype=dtype))


def test_what_answers_with_nan_is_refused() -> None:
    to_k = linear()
    to_k.weight.data[0, 0] = torch.nan
    with pytest.raises(NotLinearError):
        key_matrix(to_k, noise(1, 1, TEXT))


class Bent(nn.Module):
    """A projection that adds so much to every key of what is neither nought nor a unit vector."""

    def __init__(self, more: float, dtype: torch.dtype, offset: float = 0.0) -> None:
        super().__init__()
        self.more, self.offset = more, offset
        self.weight = nn.Parameter(torch.eye(TEXT, dtype=dtype), requires_grad=False)

    def forward(self, context: Tensor) -> Tensor:
        mixed = ((context != 0).sum(-1, keepdim=True) > 1).to(context.dtype)
        return context @ self.weight + self.offset + self.more * mixed


@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float64, 1e-3), (torch.float32, 1e-3), (torch.bfloat16, 4 * 2.0**-7)]
)
def test_how_far_an_answer_may_lie_from_the_matrix(dtype: torch.dtype, limit: float) -> None:
    """A thousandth of the largest that an answer can be, or four times what the type rounds to, if that is more."""
    like = torch.zeros(1, 1, TEXT, dtype=dtype)
    assert key_matrix(Bent(0.9 * limit, dtype), like).shape == (TEXT, TEXT)
    with pytest.raises(NotLinearError, match="Bent is not a linear map"):
        key_matrix(Bent(1.15 * limit, dtype), like)


def test_a_large_bias_is_part_of_what_an_answer_can_be() -> None:
    like = torch.zeros(1, 1, TEXT, dtype=torch.float32)
    matrix = key_matrix(Bent(5e-3, torch.float32, offset=9.0), like)
    torch.testing.assert_close(matrix, torch.eye(TEXT), rtol=0, atol=1e-5)


def test_a_projection_of_noughts_is_linear() -> None:
    inner = linear()
    inner.weight.data.zero_()
    to_k = nn.Sequential(inner)
    assert not adjoint(to_k, noise(1, 1, TEXT))(noise(1, 2, WIDTH)).any()


def test_a_projection_that_knows_its_adjoint_is_asked_for_it() -> None:
    to_k = linear()
    vars(to_k)["adjoint"] = lambda like: lambda step: step.sum() + like.shape[-1]
    assert float(adjoint(to_k, noise(1, 1, TEXT))(torch.ones(3))) == 3 + TEXT
