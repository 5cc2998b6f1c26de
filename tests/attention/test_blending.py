"""When local blend begins, what it leaves alone, and what a picture takes from another unless it says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lib_ebca.attention.blending import blended_latents
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.energy import split_heads
from lib_ebca.attention.following import Follower, follower, self_reading
from lib_ebca.attention.layer import attention
from lib_ebca.attention.picture import Blend, Following, Picture, Rows, Timetable, TokenFactors, Values
from lib_ebca.methods.alignment import Alignment
from tests.tiny_attention import HEADS, evaluate, layers, noise, projections, scene

TOKENS, STEPS, SIZE = 7, 4, (24, 16)
SAME = Alignment(torch.eye(TOKENS, dtype=torch.float64), torch.zeros(TOKENS, dtype=torch.float64))
MARK = Blend((1,), (2,), threshold=0.5)
LATENTS = noise(3, 4, *SIZE, dtype=torch.float32)


def seen(*blends: Blend | None) -> Follower:
    """Pictures that follow the first one; the upper half of their words' maps is seen, where they blend."""
    follow = [Picture(following=Following(0, SAME, blend=blend)) for blend in blends]
    found = follower([Picture(), *follow], STEPS)
    assert found is not None
    for number, blend in enumerate(blends, 1):
        if blend is not None:
            map_ = torch.zeros(6, 4)
            map_[:2] = 1
            found.add(number, map_.flatten(), map_.flatten())
    return found


@pytest.mark.parametrize(("start", "first"), [(0.0, 0), (0.5, 2), (0.6, 2), (0.75, 3), (1.0, 4)])
def test_latents_are_blended_from_a_fraction_of_the_pass_on(start: float, first: int) -> None:
    follows = seen(replace(MARK, start=start))
    for evaluation in range(STEPS + 1):
        after = blended_latents(follows, LATENTS[:2], evaluation)
        assert (after is LATENTS or torch.equal(after, LATENTS[:2])) is (evaluation < first)


def test_only_the_pictures_that_blend_are_changed_and_nobody_elses_tensor() -> None:
    before = LATENTS.clone()
    for blends, changed in (((None, MARK), [2]), ((MARK, None), [1]), ((MARK, MARK), [1, 2])):
        after = blended_latents(seen(*blends), LATENTS, 0)
        assert torch.equal(LATENTS, before)
        assert [picture for picture in range(3) if not torch.equal(after[picture], before[picture])] == changed
        for picture in changed:
            # The maximum over 3 x 3 reaches one row of the map further, four of the latent.
            torch.testing.assert_close(after[picture, :, :12], before[picture, :, :12])
            torch.testing.assert_close(after[picture, :, 12:], before[0, :, 12:])
    assert blended_latents(seen(None, None), LATENTS, 0) is LATENTS


def test_maps_of_a_layer_with_a_scale_of_its_own_are_read_with_it() -> None:
    given = scene([Picture(), Picture(following=Following(0, SAME, blend=Blend((1,), (2, 3))))], [Values()] * 2)
    cascade = Cascade(given.pictures, [Timetable((Values(),) * (STEPS + 1))] * 2)
    layer = replace(projections(layers()[0]), scale=0.9)
    cascade.begin(given.rows, SIZE)
    attention(layer, cascade, given.hidden_states, given.context, lambda context: context, True)
    query, key = (split_heads(made, HEADS)[2] for made in (layer.to_q(given.hidden_states), layer.to_k(given.context)))
    maps = (0.9 * query @ key.mT).softmax(-1)
    assert cascade.follower is not None
    source, own = cascade.follower.sums[1]
    torch.testing.assert_close(source, maps[..., 1].mean(0))
    torch.testing.assert_close(own, maps[..., [2, 3]].sum(-1).mean(0))


def test_words_are_looked_at_where_nothing_follows_as_well() -> None:
    """Outside of its windows a picture that blends is the stock layer's, and its own maps are seen."""
    still = Following(0, SAME, (0.0, 0.0), (), (0.0, 0.0), blend=MARK)
    given = scene([Picture(), Picture(following=still)], [Values()] * 2)
    cascade = Cascade(given.pictures, [Timetable((Values(),) * (STEPS + 1))] * 2)
    stack = layers(1)
    (found,) = evaluate(stack, cascade, replace(given, size=SIZE))
    torch.testing.assert_close(found, stack[0](given.hidden_states, given.context), rtol=1e-12, atol=1e-12)
    query, key = (
        split_heads(made, HEADS)[[2, 3]] for made in (stack[0].to_q(given.hidden_states), stack[0].to_k(given.context))
    )
    maps = (stack[0].scale * query @ key.mT).softmax(-1).mean(1)
    assert cascade.follower is not None
    source, own = cascade.follower.sums[1]
    torch.testing.assert_close(source, maps[0, :, 1])
    torch.testing.assert_close(own, maps[1, :, 2])


def test_a_picture_takes_what_is_published_unless_it_says_so() -> None:
    follows = Following(0, SAME)
    assert (follows.cross, follows.self_, follows.words, follows.factors, follows.kept) == (
        (0.0, 0.8),
        (0.0, 0.4),
        (),
        None,
        (),
    )
    assert (follows.pixels, follows.blend) == (None, None)
    blend = Blend((1,), (2,))
    assert (blend.threshold, blend.start, blend.pixels) == (0.3, 0.0, None)
    assert (TokenFactors((1,)).factor, TokenFactors((1,)).heads) == (1.0, ())


def test_a_window_without_length_is_nothing_also_at_the_end() -> None:
    for span in ((0.25, 0.25), (1.0, 1.0)):
        follows = follower([Picture(), Picture(following=Following(0, SAME, span, (), span))], STEPS)
        assert follows is not None
        for evaluation in range(STEPS + 1):
            assert follows.at(evaluation, Rows.guided(2), SIZE, torch.zeros(1)) is None


def test_the_layers_that_are_meant() -> None:
    follows = seen(MARK)
    assert follows.level(None, (24, 16)) == 24
    assert follows.level(None, (25, 18)) == 7 * 5
    assert follows.level(96, (24, 16)) == 96
    assert follows.shape(None, (25, 18)) == (7, 5)
    assert follows.shape(96, (24, 16)) == (12, 8)
    assert follows.numbers == (1,)
    assert follower([Picture()], STEPS) is None


def test_beyond_the_pass_its_last_evaluation_is_repeated() -> None:
    whole = Following(0, SAME, (0.0, 1.0), (), (0.0, 1.0))
    follows = follower([Picture(), Picture(following=whole)], STEPS)
    assert follows is not None
    last = follows.at(STEPS, Rows.guided(2), SIZE, torch.zeros(1))
    assert last is not None and last.acts and not last.selves
    assert follows.at(STEPS + 3, Rows.guided(2), SIZE, torch.zeros(1)) is last


def test_rows_that_follow_are_conditional_and_have_a_source_in_the_batch() -> None:
    follows = follower([Picture(), Picture(following=Following(0, SAME))], STEPS)
    assert follows is not None
    now = follows.at(0, Rows((1, 0, 1, 0, 1), (True, False, False, True, True)), SIZE, torch.zeros(1))
    assert now is not None
    assert now.reading.tolist() == [3, 1, 2, 3, 4]
    assert now.rows.tolist() == [0]
    assert now.selves == ((0, 3, 24),)
    assert self_reading(now, 5, 24) == [3, 1, 2, 3, 4]
    assert self_reading(now, 5, 25) is None
    assert follows.at(0, Rows((1, 1), (True, True)), SIZE, torch.zeros(1)) is None
