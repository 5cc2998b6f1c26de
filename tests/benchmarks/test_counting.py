"""The counters themselves, on work whose numbers are known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from benchmarks.counting import count
from benchmarks.memory import peak_bytes
from benchmarks.timing import interleaved, paired

CPU = torch.device("cpu")


def test_attention_is_counted_whatever_kernel_computes_it() -> None:
    query, key = torch.randn(2, 3, 50, 8), torch.randn(2, 3, 7, 8)
    counted = count(lambda: F.scaled_dot_product_attention(query, key, key))
    assert counted.flops == 2 * 3 * (2 * 50 * 7 * 8) * 2
    assert counted.attention_calls == 1
    assert counted.projections == 0


def test_views_launch_nothing() -> None:
    states = torch.randn(4, 6)
    assert count(lambda: states.view(2, 2, 6).transpose(0, 1)[:1].unsqueeze(0)).launches == 0
    assert count(lambda: torch.promote_types(states.dtype, torch.float32)).launches == 0
    assert count(lambda: (states + 1).mul_(2).to(torch.bfloat16)).launches == 3


@pytest.mark.parametrize("project", [lambda x, w: F.linear(x, w), lambda x, w: x @ w, torch.matmul])
def test_projections_of_every_spelling(project: object) -> None:
    states, weight = torch.randn(4, 6), torch.randn(6, 6)
    counted = count(lambda: project(states, weight))  # type: ignore[operator]  # a parameter of the test
    assert (counted.projections, counted.flops) == (1, 2 * 4 * 6 * 6)


def test_the_peak_is_what_is_held_at_once() -> None:
    def work() -> None:
        first = torch.ones(1000)
        second = first.neg()
        del first
        third = second.neg()
        del second, third
        torch.ones(500)

    work()
    assert peak_bytes(work, CPU) == 2 * 1000 * 4


def test_each_way_is_timed_in_each_round_and_none_always_after_the_same() -> None:
    order: list[int] = []
    samples = interleaved([lambda i=i: order.append(i) for i in range(3)], 3, 2, CPU)  # type: ignore[misc]  # mypy cannot infer a lambda's default
    assert [len(each) for each in samples] == [3, 3, 3]
    assert order == [0, 0, 1, 1, 2, 2, 1, 1, 2, 2, 0, 0, 2, 2, 0, 0, 1, 1]
    assert all(sample.wall > 0 for each in samples for sample in each)


def test_a_slow_spell_of_the_machine_does_not_enter_the_ratio() -> None:
    stock = [1.0, 1.0, 5.0, 1.0, 9.0]
    ratio = paired([1.1 * time for time in stock], stock)
    assert ratio.median == pytest.approx(1.1)
    assert ratio.low == pytest.approx(1.1) and ratio.high == pytest.approx(1.1)


def test_the_interval_widens_with_the_noise() -> None:
    ratio = paired([1.0, 1.2, 1.1, 0.9, 1.3, 1.1], [1.0] * 6)
    assert ratio.low < ratio.median < ratio.high
