"""The study's rules do to the product's step what they say, and leave the product as it was."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

import lib_ebca.attention.layer
from benchmarks.alignment.drawing import Drawing, Sampling
from benchmarks.alignment.methods import Method, bcu, bent, boosted, plain
from benchmarks.alignment.prompts import COLOURED, Item, items, shapes_prompts
from benchmarks.alignment.step_rules import (
    Call,
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
    Rule,
    Several,
    Step,
    Temperature,
    installed,
    line_gains,
)
from lib_ebca.attention.energy import conditional_energy, prior_energy, split_heads
from lib_ebca.studio import Studio
from lib_ebca.studio.loading import Model
from lib_ebca.studio.recipe import Source

BATCH = items(COLOURED, shapes_prompts(COLOURED), 3)


class Watch:
    """An outermost rule that steps as it is and keeps what went in and what came out."""

    def __init__(self) -> None:
        self.seen: list[tuple[Call, Tensor]] = []

    def step(self, inner: Step, call: Call) -> Tensor:
        step = inner(call)
        self.seen.append((call, step))
        return step


@pytest.fixture(scope="module")
def drawing(tiny_shapes: StableDiffusionPipeline) -> Drawing:
    model = Model(tiny_shapes, Source("shapes", "0"), tiny_shapes.scheduler.config)
    return Drawing(Studio(model), Sampling(steps=1, guidance=5.0, batch=3))


def first_steps(drawing: Drawing, method: Method) -> list[tuple[Call, Tensor]]:
    """The steps of one evaluation, in the order of the layers."""
    watch = Watch()
    with installed((*method.rules, watch)):
        drawing.draw(BATCH, Method(method.name, method.family, method.update, method.boost))
    return watch.seen


def first(drawing: Drawing, *rules: Rule, attn: float = 0.01, norm: float = 0.02) -> tuple[Call, Tensor]:
    """The first layer's call and step: no earlier step has moved its context."""
    return first_steps(drawing, bent("x", "x", attn, norm, *rules))[0]


def key_weight(call: Call) -> Tensor:
    weight = call.layer.to_k.weight
    assert isinstance(weight, Tensor)
    return weight


def lengths(step: Tensor) -> Tensor:
    return step.norm(dim=-1)


def test_installed_leaves_the_product_as_it_was() -> None:
    before = lib_ebca.attention.layer._step
    with pytest.raises(RuntimeError, match="inside"), installed([PerToken(0.1)]):
        assert lib_ebca.attention.layer._step is not before
        raise RuntimeError("inside")
    assert lib_ebca.attention.layer._step is before


def test_only_pixels_and_only_part_silence_the_other_layers(drawing: Drawing) -> None:
    for call, step in first_steps(drawing, bent("x", "x", 0.01, 0.02, OnlyPixels(64))):
        assert bool(step.any()) == (call.query.shape[2] == 64)
    parts = {
        call.layer.name.split("_")[0]: bool(step.any())
        for call, step in first_steps(drawing, bent("x", "x", 0.01, 0.0, OnlyPart("mid_block")))
    }
    assert parts == {"down": False, "mid": True, "up": False}


@pytest.mark.parametrize("conditional", [True, False])
def test_only_rows_moves_one_side_of_guidance(drawing: Drawing, conditional: bool) -> None:
    _, step = first(drawing, OnlyRows(conditional))
    _, whole = first(drawing)
    moved, still = (step[3:], step[:3]) if conditional else (step[:3], step[3:])
    assert not still.any()
    torch.testing.assert_close(moved, whole[3:] if conditional else whole[:3])


def test_other_picture_pulls_with_the_neighbours_queries(drawing: Drawing) -> None:
    call, step = first(drawing, OtherPicture(), norm=0.0)
    key = split_heads(call.keys, call.layer.heads)
    # The second picture's conditional row is number 4; the first picture's is number 3.
    weights = (call.scale * key[4] @ call.query[3].transpose(-1, -2)).softmax(-1)
    pull = (weights @ call.query[3]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(step[4], 0.01 * pull @ key_weight(call))


def test_other_picture_needs_another_picture(drawing: Drawing) -> None:
    with pytest.raises(ValueError, match="at least two pictures"):
        drawing.draw(BATCH[:1], bent("x", "x", 0.01, 0.0, OtherPicture()))


def test_noise_is_as_long_as_the_step_and_points_elsewhere(drawing: Drawing) -> None:
    _, step = first(drawing, Noise())
    _, true = first(drawing)
    torch.testing.assert_close(lengths(step), lengths(true))
    assert torch.cosine_similarity(step, true, dim=-1).abs().mean() < 0.5
    torch.testing.assert_close(step, first(drawing, Noise())[1])
    assert not torch.allclose(step, first(drawing, Noise(seed=1))[1])


def test_per_token_and_per_context_have_the_asked_length(drawing: Drawing) -> None:
    call, step = first(drawing, PerToken(0.05), attn=1.0, norm=0.02)
    torch.testing.assert_close(lengths(step), 0.05 * lengths(call.context))
    torch.testing.assert_close(step, first(drawing, PerToken(0.05), attn=0.01, norm=0.0002)[1], rtol=1e-3, atol=1e-5)
    call, step = first(drawing, PerContext(0.05), attn=1.0, norm=0.0)
    torch.testing.assert_close(step.flatten(1).norm(dim=1), 0.05 * call.context.flatten(1).norm(dim=1))
    backwards = first(drawing, PerToken(-0.05), attn=1.0, norm=0.0)[1]
    torch.testing.assert_close(backwards, -first(drawing, PerToken(0.05), attn=1.0, norm=0.0)[1])


def test_clipped_shortens_only_what_is_too_long(drawing: Drawing) -> None:
    call, whole = first(drawing, attn=0.02)
    limit = float((lengths(whole) / lengths(call.context)).median())
    _, step = first(drawing, Clipped(limit), attn=0.02)
    bound = limit * lengths(call.context)
    torch.testing.assert_close(lengths(step), lengths(whole).minimum(bound))
    assert (lengths(whole) > bound).any() and (lengths(whole) < bound).any()


def test_temperature_changes_the_priors_weights(drawing: Drawing) -> None:
    call, step = first(drawing, Temperature(0.0), attn=0.0, norm=0.5)
    even = -0.5 / 77 * call.keys @ key_weight(call)
    torch.testing.assert_close(step, even)


def test_several_steps_follow_the_keys(drawing: Drawing) -> None:
    call, step = first(drawing, Several(2), attn=0.3, norm=0.0)
    key = split_heads(call.keys, call.layer.heads)
    total = torch.zeros_like(call.context)
    for _ in range(2):
        key = split_heads((call.context + total) @ key_weight(call).T, call.layer.heads)
        pull = (call.scale * key @ call.query.transpose(-1, -2)).softmax(-1) @ call.query
        total = total + 0.3 * pull.transpose(1, 2).flatten(2) @ key_weight(call)
    torch.testing.assert_close(step, total)
    assert not torch.allclose(step, 2 * first(drawing, attn=0.3, norm=0.0)[1], rtol=1e-4)


def energy(call: Call, context: Tensor) -> Tensor:
    """The posterior energy with the published prior, from the core's own functions."""
    keys = context @ key_weight(call).T.to(context.dtype)
    heads = split_heads(keys, call.layer.heads)
    return conditional_energy(call.query.to(context.dtype), heads, call.scale).sum((1, 2)) + prior_energy(
        keys, "published"
    )


def test_line_gains_are_the_energy_of_the_core(drawing: Drawing) -> None:
    call, step = first(drawing, attn=1.0, norm=1.0)
    tried, gains = line_gains(call, step)
    start = energy(call, call.context)
    for length, gain in list(zip(tried, gains, strict=True))[1:10:3]:
        torch.testing.assert_close(gain, start - energy(call, call.context + length * step), rtol=1e-3, atol=2e-3)


def test_descent_lowers_the_energy_by_what_it_promises(drawing: Drawing) -> None:
    nats = 1e-4
    call, step = first(drawing, Descent(nats))
    context = call.context.double()
    gain = energy(call, context) - energy(call, context + step)
    promised = torch.full_like(gain, nats * 77 * call.layer.heads)
    torch.testing.assert_close(gain, promised, rtol=0.05, atol=0.0)


def test_line_search_reaches_the_asked_share(drawing: Drawing) -> None:
    call, step = first(drawing, LineSearch(0.5))
    _, gains = line_gains(call, _gradient_step(drawing))
    gain = energy(call, call.context) - energy(call, call.context + step)
    ratio = gain / gains.amax(0)
    assert ((ratio > 0.45) & (ratio < 0.65)).all(), ratio


def _gradient_step(drawing: Drawing) -> Tensor:
    """The gradient step of length one, told apart from Descent by its length alone."""
    call, step = first(drawing, Descent(1.0))
    # t |delta|^2 = wanted and step = t delta, so delta = step * wanted / |step|^2.
    wanted = 77 * call.layer.heads
    return step * (wanted / step.flatten(1).norm(dim=1).square()).view(-1, 1, 1)


def test_rules_wrap_one_another(drawing: Drawing) -> None:
    call, step = first(drawing, PerToken(0.05), OnlyRows(True), attn=1.0, norm=0.0)
    assert not step[:3].any()
    torch.testing.assert_close(lengths(step[3:]), 0.05 * lengths(call.context[3:]))


def noise() -> Tensor:
    """(3, 4, 16, 16), the first latents of BATCH."""
    return torch.cat(
        [torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(item.noise_seed)) for item in BATCH]
    )


def assert_same_picture(drawn: Tensor, wanted: Tensor) -> None:
    """But for the rounding of eight bits."""
    torch.testing.assert_close(drawn, wanted, rtol=0, atol=1.01 / 255)


def test_plain_method_is_the_pipelines_own_result(drawing: Drawing, tiny_shapes: StableDiffusionPipeline) -> None:
    drawn = drawing.draw(BATCH, plain())
    stock = tiny_shapes(
        [item.prompt.text for item in BATCH],
        num_inference_steps=1,
        guidance_scale=5.0,
        latents=noise(),
        output_type="pt",
    ).images
    assert_same_picture(drawn.pictures, stock)
    assert drawn.evaluations == 1 and drawn.seconds > 0


def test_methods_go_through_the_product(drawing: Drawing, tiny_shapes: StableDiffusionPipeline) -> None:
    from lib_ebca import Boost, ContextUpdate, Plan
    from lib_ebca.hosts.diffusers import energy_attention

    plans: Sequence[Plan] = [
        Plan(ContextUpdate(30.0, 1.0), boosts=tuple(Boost(str(w.shape), 100.0) for w in item.prompt.shapes))
        for item in BATCH
    ]
    with energy_attention(tiny_shapes, plans):
        ours = tiny_shapes(
            [item.prompt.text for item in BATCH],
            num_inference_steps=1,
            guidance_scale=5.0,
            latents=noise(),
            output_type="pt",
        ).images
    assert_same_picture(drawing.draw(BATCH, boosted(30.0, 1.0, 100.0)).pictures, ours)
    assert (drawing.draw(BATCH, bcu(30.0, 1.0)).pictures - ours).abs().max() > 2 / 255


def test_a_picture_depends_on_its_prompt_and_seed_alone(drawing: Drawing) -> None:
    pictures = drawing.draw(BATCH, plain()).pictures
    assert_same_picture(drawing.draw(BATCH[1:2], plain()).pictures[0], pictures[1])
    other = Item(COLOURED, BATCH[0].prompt, BATCH[0].seed + 1)
    assert not torch.equal(drawing.draw([other], plain()).pictures[0], pictures[0])
