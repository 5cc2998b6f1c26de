from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lib_ebca.methods.attend_and_excite import (
    Ask,
    Measured,
    Objective,
    excite,
    losses,
    pull,
    scores_of_maps,
    step_size,
    subject_scores,
)
from lib_ebca.methods.maps import smoothed, smoothing_kernel, text_shares

SIZE = (3, 5)
TEXT = torch.tensor([False, True, True, True, True, False])


@pytest.fixture
def probabilities() -> Tensor:
    """(15, 6), attention of a layer that is not square."""
    return torch.randn(15, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64).softmax(-1)


def test_only_the_text_shares_a_pixel(probabilities: Tensor) -> None:
    shares = text_shares(probabilities, TEXT)
    expected = (100 * probabilities[:, 1:5]).softmax(-1)
    torch.testing.assert_close(shares[:, 1:5], expected, rtol=0, atol=1e-15)
    assert torch.equal(shares[:, [0, 5]], torch.zeros(15, 2, dtype=torch.float64))


@pytest.mark.parametrize(("kind", "centre"), [("published", 0.3319), ("gaussian", 0.6193)])
def test_a_kernel_is_the_one_of_its_name(kind: str, centre: float) -> None:
    kernel = smoothing_kernel(kind)
    assert float(kernel[1, 1]) == pytest.approx(centre, abs=1e-4)
    assert float(kernel.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("size", [(3, 5), (1, 4), (2, 2)])
def test_a_blur_keeps_what_is_even(size: tuple[int, int]) -> None:
    maps = torch.full((2, *size), 0.25, dtype=torch.float64)
    torch.testing.assert_close(smoothed(maps, smoothing_kernel()), maps, rtol=0, atol=1e-7)


def test_a_blur_is_the_sum_over_the_mirrored_neighbours() -> None:
    maps = torch.arange(12.0).view(1, 3, 4)
    kernel = torch.arange(9.0).view(3, 3)
    mirrored = [[1, 0, 1], [0, 1, 2], [1, 2, 1]]
    columns = [[1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 2]]
    for y in range(3):
        for x in range(4):
            expected = sum(kernel[i, j] * maps[0, mirrored[y][i], columns[x][j]] for i in range(3) for j in range(3))
            assert float(smoothed(maps, kernel)[0, y, x]) == pytest.approx(float(expected))


def test_a_word_of_several_tokens_counts_by_its_best_one_or_by_their_mean(probabilities: Tensor) -> None:
    single = subject_scores(probabilities, SIZE, TEXT, [[1], [3]])
    best = subject_scores(probabilities, SIZE, TEXT, [[1, 3]])
    mean = subject_scores(probabilities, SIZE, TEXT, [[1, 3]], Objective(tokens="mean"))
    assert float(best) == float(single.max())
    assert float(mean) == pytest.approx(float(single.mean()))


def test_a_mask_hides_what_lies_outside(probabilities: Tensor) -> None:
    mask = torch.zeros(SIZE, dtype=torch.float64)
    plain = Objective(kernel=None)
    assert float(subject_scores(probabilities, SIZE, TEXT, [[2]], plain, mask)) == 0.0
    mask[1, 2] = 1.0
    inside = subject_scores(probabilities, SIZE, TEXT, [[2]], plain, mask)
    assert float(inside) == float(text_shares(probabilities, TEXT)[1 * 5 + 2, 2])


def test_the_most_neglected_pulls_alone_or_all_do() -> None:
    scores = torch.tensor([0.2, 0.5], requires_grad=True)
    sizes = torch.tensor([10.0, 30.0])
    loss, quantity = pull(losses(scores), sizes)
    assert loss.item() == pytest.approx(0.8)
    assert torch.autograd.grad(quantity, scores)[0].tolist() == [-10.0, 0.0]
    loss, quantity = pull(losses(scores), sizes, Objective(loss="mean"))
    assert loss.item() == pytest.approx(0.65)
    assert torch.autograd.grad(quantity, scores)[0].tolist() == [-5.0, -15.0]


def test_a_subject_that_has_all_pulls_no_more() -> None:
    scores = torch.tensor([1.0], requires_grad=True)
    loss, quantity = pull(losses(scores), torch.ones(1))
    assert loss.item() == 0.0
    assert torch.autograd.grad(quantity, scores)[0].tolist() == [0.0]


@pytest.mark.parametrize(
    ("number", "size"), [(0, 20.0), (10, 18.97), (20, 17.89), (24, 17.44), (50, 14.14), (60, 14.14)]
)
def test_step_sizes_fall_as_published(number: int, size: float) -> None:
    assert step_size(20.0, number, 51) == pytest.approx(size, abs=5e-3)


def test_a_pass_of_one_evaluation_has_the_first_step_size() -> None:
    assert step_size(20.0, 0, 1) == 20.0


def halving(calls: list[list[int]]) -> Callable[[Tensor, list[int]], Measured]:
    """A measure whose loss is the latent itself, and whose step halves it."""

    def measure(latents: Tensor, rows: list[int]) -> Measured:
        calls.append(rows)
        return Measured(tuple(latents.flatten(1).amax(1).tolist()), latents / 2)

    return measure


def test_refinement_sees_the_loss_from_before_its_last_update() -> None:
    calls: list[list[int]] = []
    (latents, (moved,)) = excite(torch.ones(1, 1, 1, 1), [Ask(0.3, True)], halving(calls))
    # 1, 0.5 and 0.25 are updated: the third one only because 0.5 was above the target; then the ordinary update.
    assert moved.updates == (1.0, 0.5, 0.25, 0.125)
    assert moved.refinements == 3
    assert float(latents) == 0.0625
    assert len(calls) == 4


def test_rows_that_have_done_drop_out() -> None:
    calls: list[list[int]] = []
    start = torch.tensor([1.0, 0.2, 1.0, 1.0], dtype=torch.float64).view(4, 1, 1, 1)
    asks = [Ask(0.3, True), Ask(0.3, True), Ask(None, True), Ask(None, False)]
    latents, moved = excite(start, asks, halving(calls))
    assert calls == [[0, 1, 2], [0], [0], [0]]
    assert latents.flatten().tolist() == [0.0625, 0.1, 0.5, 1.0]
    assert [each.refinements for each in moved] == [3, 0, 0, 0]


def test_rows_in_a_batch_are_moved_as_they_are_alone() -> None:
    start = torch.rand(3, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    asks = [Ask(0.1, True), Ask(None, True), Ask(0.4, False)]
    together, _ = excite(start, asks, halving([]))
    for row in range(3):
        alone, _ = excite(start[row : row + 1], asks[row : row + 1], halving([]))
        assert torch.equal(together[row : row + 1], alone)


def test_refinement_ends_at_its_limit() -> None:
    _, (moved,) = excite(torch.ones(1, 1, 1, 1), [Ask(0.0, True)], halving([]), most=5)
    assert moved.refinements == 5
    assert len(moved.updates) == 6


def test_a_gradient_that_is_not_finite_leaves_the_row_as_it_was() -> None:
    def measure(latents: Tensor, rows: list[int]) -> Measured:
        steps = latents / 2
        steps[-1] = math.nan
        return Measured((1.0,) * len(rows), steps)

    latents, moved = excite(torch.ones(2, 1, 1, 1), [Ask(None, True)] * 2, measure)
    assert latents.flatten().tolist() == [0.5, 1.0]
    assert [each.finite for each in moved] == [True, False]


def test_a_stop_is_heard_within_a_refinement() -> None:
    calls: list[list[int]] = []
    latents, (moved,) = excite(
        torch.ones(1, 1, 1, 1), [Ask(0.0, True)], halving(calls), stopped=lambda: len(calls) == 2
    )
    assert float(latents) == 0.25
    assert moved.refinements == 2


@pytest.mark.parametrize("field", ["loss", "tokens"])
def test_an_unknown_rule_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 'median': it should be one of max, mean"):
        Objective(**{field: "median"})


def test_a_loss_at_its_target_is_refined_no_more() -> None:
    """From above it the first one below ends the refinement; one that is there from the start begins none."""
    _, (there, above) = excite(torch.tensor([0.5, 1.0]).view(2, 1, 1, 1), [Ask(0.5, False)] * 2, halving([]))
    assert (there.loss, there.updates, there.refinements) == (0.5, (), 0)
    assert (above.loss, above.updates, above.refinements) == (1.0, (1.0, 0.5), 2)


def test_what_nobody_asked_of_is_told_as_left_alone() -> None:
    _, (moved,) = excite(torch.ones(1, 1, 1, 1), [Ask(None, False)], halving([]))
    assert math.isnan(moved.loss)
    assert (moved.updates, moved.refinements, moved.finite) == ((), 0, True)


def test_where_nothing_is_lost_nothing_is_moved() -> None:
    def measure(latents: Tensor, rows: list[int]) -> Measured:
        return Measured((0.0, 0.001), torch.full_like(latents, 0.25))

    latents, moved = excite(torch.ones(2, 1, 1, 1), [Ask(None, True)] * 2, measure)
    assert latents.flatten().tolist() == [1.0, 0.75]
    assert [each.updates for each in moved] == [(), (0.001,)]


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_rows_changes(loss: float) -> None:
    measured = iter([0.9, loss])

    def measure(latents: Tensor, rows: list[int]) -> Measured:
        return Measured((next(measured),), latents / 2)

    latents, (moved,) = excite(torch.ones(1, 1, 1, 1), [Ask(0.1, True)], measure)
    assert float(latents) == 0.5
    assert (moved.loss, moved.updates, moved.refinements, moved.finite) == (0.9, (0.9,), 1, False)


def test_no_more_than_twenty_refinements_unless_told() -> None:
    _, (moved,) = excite(torch.ones(1, 1, 1, 1, dtype=torch.float64), [Ask(0.0, False)], halving([]))
    assert moved.refinements == len(moved.updates) == 20


def test_the_default_objective_is_the_published_one() -> None:
    assert Objective() == Objective("max", "max", "published")
    given = torch.eye(3, dtype=torch.float64).unsqueeze(0)
    plain = scores_of_maps(given, [1], Objective(), None, None)
    blurred = scores_of_maps(given, [1], Objective(), "gaussian", None)
    assert float(plain) == 1.0
    assert float(blurred) == float(smoothed(given, smoothing_kernel("gaussian", dtype=torch.float64)).max()) < 1.0


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel is 'box': it should be one of published, gaussian"):
        smoothing_kernel("box")
