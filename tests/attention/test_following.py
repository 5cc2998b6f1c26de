"""Fused following against explicit probability matrices, under random masks, mappers, windows and factors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lib_ebca.attention.blending import blended_latents
from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.energy import merge_heads, split_heads
from lib_ebca.attention.layer import FOLLOWING_LEFT_OUT, attention
from lib_ebca.attention.picture import Blend, Following, Picture, Rows, Timetable, TokenFactors, Values
from lib_ebca.attention.projections import Projections
from lib_ebca.attention.self_following import SELF_LEFT_OUT, self_attention
from lib_ebca.language.windows import held
from lib_ebca.methods.alignment import Alignment
from lib_ebca.methods.prompt_to_prompt import blend_mask, blended, cross_windows, followed, mixture

HEADS, WIDTH, TEXT, TOKENS = 2, 8, 6, 5
SIZE = (8, 4)
PIXELS = 2
STEPS = 4
STILL = Timetable((Values(),) * (STEPS + 1))


def projections() -> Projections:
    torch.manual_seed(0)
    q, k, v, o = (
        nn.Linear(given, WIDTH, bias=given == WIDTH, dtype=torch.float64) for given in (WIDTH, TEXT, TEXT, WIDTH)
    )
    return Projections(0, "layer", q, k, v, o, HEADS)


def explicit_maps(layer: Projections, hidden: Tensor, context: Tensor) -> Tensor:
    query, key = split_heads(layer.to_q(hidden), HEADS), split_heads(layer.to_k(context), HEADS)
    return (query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5).softmax(-1)


def explicit_output(layer: Projections, maps: Tensor, context: Tensor) -> Tensor:
    return layer.to_out(merge_heads(maps @ split_heads(layer.to_v(context), HEADS)))


def refused(context: Tensor) -> Tensor:
    raise AssertionError("the fused form was to be taken")


def acted(span: tuple[float, float], count: int) -> tuple[float, float]:
    """A span that is too short for any step is that of the step it lies in; one without length is nothing."""
    return held(*span, count, STEPS) if span[0] < span[1] else span


spans = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda ends: (min(ends), max(ends)))


@st.composite
def followings(draw: st.DrawFn, source: int) -> Following:
    torch.manual_seed(draw(st.integers(0, 2**31)))
    route = torch.randn(TOKENS, TOKENS, dtype=torch.float64) * (torch.rand(TOKENS, TOKENS) < draw(st.floats(0, 1)))
    own = torch.randn(TOKENS, dtype=torch.float64) * (torch.rand(TOKENS) < draw(st.floats(0, 1)))
    tokens = st.lists(st.integers(0, TOKENS - 1), max_size=3, unique=True).map(tuple)
    return Following(
        source,
        Alignment(route, own),
        draw(spans),
        tuple((draw(tokens), draw(spans)) for _ in range(draw(st.integers(0, 2)))),
        draw(spans),
        draw(st.sampled_from([None, torch.randn(TOKENS, dtype=torch.float64)])),
        draw(tokens),
    )


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_fused_is_explicit(data: st.DataObject) -> None:
    """Several sources in one batch, any window of each column, reweighting, kept words, concepts by head."""
    layer = projections()
    sources = data.draw(st.integers(1, 2))
    followers = [
        data.draw(followings(data.draw(st.integers(0, sources - 1)))) for _ in range(data.draw(st.integers(1, 3)))
    ]
    concept = TokenFactors((1, 2), heads=(torch.randn(HEADS, dtype=torch.float64),))
    pictures = [Picture() for _ in range(sources)] + [Picture(factors=(concept,), following=each) for each in followers]
    with_concept = Timetable((Values(factors=(True,)),) * (STEPS + 1))
    cascade = Cascade(pictures, [STILL] * sources + [with_concept] * len(followers))
    rows = data.draw(st.sampled_from([Rows.guided(len(pictures)), Rows.plain(len(pictures))]))
    evaluation = data.draw(st.integers(0, STEPS))
    hidden = torch.randn(len(rows.picture), PIXELS, WIDTH, dtype=torch.float64)
    context = torch.randn(len(rows.picture), TOKENS, TEXT, dtype=torch.float64)

    cascade.begin(rows, SIZE, evaluation)
    found = attention(layer, cascade, hidden, context, refused, own=True)

    maps = explicit_maps(layer, hidden, context)
    new = maps.clone()
    for row, (number, conditional) in enumerate(zip(rows.picture, rows.conditional, strict=True)):
        each = pictures[number].following
        if each is None or not conditional:
            continue
        words = [(columns, acted(span, STEPS + 1)) for columns, span in each.words]
        windows = cross_windows(STEPS, TOKENS, acted(each.cross, STEPS + 1), words)[evaluation]
        source = row - number + each.source
        new[row] = followed(maps[source], maps[row], mixture(each.alignment, windows, each.factors, each.kept))
        new[row][:, :, [1, 2]] *= concept.heads[0][:, None, None]
    assert torch.allclose(found, explicit_output(layer, new, context), rtol=0, atol=1e-12)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_self_attention_is_explicit(data: st.DataObject) -> None:
    torch.manual_seed(1)
    q, k, v, o = (nn.Linear(WIDTH, WIDTH, dtype=torch.float64) for _ in range(4))
    layer = Projections(-1, "attn1", q, k, v, o, HEADS)
    following = replace(data.draw(followings(0)), pixels=data.draw(st.sampled_from([None, 1, 8])))
    pictures = [Picture(), Picture(following=following), Picture()]
    cascade = Cascade(pictures, [STILL] * 3)
    evaluation = data.draw(st.integers(0, STEPS))
    hidden = torch.randn(6, PIXELS, WIDTH, dtype=torch.float64)
    cascade.begin(Rows.guided(3), SIZE, evaluation)
    maps = explicit_maps(layer, hidden, hidden)
    stock = explicit_output(layer, maps, hidden)
    found = self_attention(layer, cascade, hidden, lambda: stock, own=True)
    lo, hi = acted(following.self_, STEPS)
    # The quarter of an 8 x 4 latent has two pixels.
    if int(lo * STEPS) <= evaluation < int(hi * STEPS) and following.pixels != 1:
        maps[4] = maps[3]
    else:
        assert found is stock
    assert torch.allclose(found, explicit_output(layer, maps, hidden), rtol=0, atol=1e-12)


def test_local_blend_sees_the_followed_maps() -> None:
    """Two edits, of different words, a latent that is not square; the second layer has another size and is not seen."""
    layer = projections()
    torch.manual_seed(3)
    route, own = torch.rand(TOKENS, TOKENS, dtype=torch.float64), torch.rand(TOKENS, dtype=torch.float64)
    blends = (Blend((1,), (1, 3), threshold=0.9), Blend((2,), (4,), threshold=0.95))
    following, second = (Following(0, Alignment(route, own), blend=blend) for blend in blends)
    pictures = [Picture(), Picture(following=following), Picture(following=second)]
    cascade = Cascade(pictures, [STILL] * 3)
    size = (64, 32)
    sums = torch.zeros(2, 2, 128, dtype=torch.float64)
    for evaluation in range(2):
        hidden, context = 9 * torch.randn(6, 128, WIDTH).double(), torch.randn(6, TOKENS, TEXT).double()
        cascade.begin(Rows.guided(3), size, evaluation)
        attention(layer, cascade, hidden, context, refused, own=True)
        attention(replace(layer, index=1), cascade, hidden[:, :2], context, refused, own=True)
        maps = explicit_maps(layer, hidden, context)
        for number, each in enumerate((following, second)):
            blend = blends[number]
            windows = cross_windows(STEPS, TOKENS, each.cross, ())[evaluation]
            new = followed(maps[3], maps[4 + number], mixture(each.alignment, windows))
            sums[number, 0] += maps[3][..., list(blend.source_tokens)].sum(-1).mean(0)
            sums[number, 1] += new[..., list(blend.own_tokens)].sum(-1).mean(0)
    latents = torch.randn(3, 4, *size)
    assert cascade.follower is not None
    after = blended_latents(cascade.follower, latents, 1)
    assert torch.equal(after[0], latents[0])
    for number, blend in enumerate(blends):
        source, own = (each.view(16, 8).float() for each in sums[number])
        mask = blend_mask(source, own, size, blend.threshold)
        assert mask.any() and not mask.all()
        assert torch.equal(after[1 + number], blended(latents[0], latents[1 + number], mask))


def test_outside_its_windows_a_follower_is_stock() -> None:
    layer = projections()
    alignment = Alignment(torch.eye(TOKENS, dtype=torch.float64), torch.zeros(TOKENS, dtype=torch.float64))
    following = Following(0, alignment, (0.0, 0.5), (), (0.0, 0.5))
    cascade = Cascade([Picture(), Picture(following=following)], [STILL] * 2)
    hidden, context = torch.randn(4, PIXELS, WIDTH).double(), torch.randn(4, TOKENS, TEXT).double()
    cascade.begin(Rows.guided(2), SIZE, 3)
    stock = torch.zeros(())
    assert attention(layer, cascade, hidden, context, lambda read: stock, own=True) is stock
    assert self_attention(layer, cascade, hidden, lambda: stock, own=True) is stock


def test_a_layer_larger_than_those_whose_self_attention_follows_is_stock() -> None:
    layer = projections()
    alignment = Alignment(torch.eye(TOKENS, dtype=torch.float64), torch.zeros(TOKENS, dtype=torch.float64))
    cascade = Cascade([Picture(), Picture(following=Following(0, alignment, pixels=PIXELS - 1))], [STILL] * 2)
    cascade.begin(Rows.guided(2), SIZE, 0)
    stock = torch.zeros(())
    assert self_attention(layer, cascade, torch.randn(4, PIXELS, WIDTH).double(), lambda: stock, own=True) is stock


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_takes_any_mapper(dtype: torch.dtype) -> None:
    """The published code multiplies half maps with a float32 mapper, and stops."""
    alignment = Alignment(torch.rand(TOKENS, TOKENS, dtype=torch.float64), torch.rand(TOKENS, dtype=torch.float64))
    pictures = [Picture(), Picture(following=Following(0, alignment))]
    hidden, context = torch.randn(4, PIXELS, WIDTH).double(), torch.randn(4, TOKENS, TEXT).double()

    def output(kind: torch.dtype) -> Tensor:
        layer = projections()
        for part in (layer.to_q, layer.to_k, layer.to_v, layer.to_out):
            assert isinstance(part, nn.Module)
            part.to(kind)
        cascade = Cascade(pictures, [STILL] * 2)
        cascade.begin(Rows.guided(2), SIZE, 0)
        return attention(layer, cascade, hidden.to(kind), context.to(kind), refused, own=True)

    half, wanted = output(dtype), output(torch.float64)
    assert half.dtype == dtype
    assert torch.allclose(half.double(), wanted, atol=0.05)


def test_layers_of_others_are_told_of() -> None:
    layer = projections()
    alignment = Alignment(torch.eye(TOKENS, dtype=torch.float64), torch.zeros(TOKENS, dtype=torch.float64))
    told: list[str] = []
    pictures = [Picture(), Picture(following=Following(0, alignment))]
    cascade = Cascade(pictures, [STILL] * 2, tell=told.append)
    hidden, context = torch.randn(4, PIXELS, WIDTH).double(), torch.randn(4, TOKENS, TEXT).double()
    cascade.begin(Rows.guided(2), SIZE, 0)
    attention(layer, cascade, hidden, context, lambda read: hidden, own=False)
    self_attention(layer, cascade, hidden, lambda: hidden, own=False)
    assert told == [FOLLOWING_LEFT_OUT, SELF_LEFT_OUT]
