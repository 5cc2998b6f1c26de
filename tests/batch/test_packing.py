"""A picture is the same alone and packed with others: other prompts, plans, negative prompts and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cli.batch import draw, packing
from cli.batch.items import Item
from lib_ebca.studio import Studio, loading
from lib_ebca.studio.loading import Model
from lib_ebca.studio.recipe import Settings, Source
from tests import tiny_pipe
from tests.batch.conftest import Write, asked

TOLERANCE = 1e-4
LONG = ", ".join(["a cat on a sofa"] * 30)
MIXED: tuple[dict[str, Any], ...] = (
    {"prompt": "a cat on a sofa", "negative": "blurry", "seed": 1},
    {"prompt": "a dog", "negative": "a castle", "seed": 2, "bcu": "1:1"},
    {"prompt": "a castle <edit:dog:0.75:from=0.4> <edit:cat:-0.5>", "negative": "blurry", "seed": 3},
    {"prompt": "a (cat:1.3) and a shirt", "negative": "x", "seed": 2, "bcu": "0.5:1:until=0.6", "boost": "cat:3"},
)


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    """The tiny SD 1."""
    return loading.load(Settings(model=str(tiny_model)))


@pytest.fixture(scope="module")
def xl() -> Model:
    """A tiny SDXL."""
    pipe = tiny_pipe.sdxl()
    return Model(pipe, Source("xl", "0"), pipe.scheduler.config)


def decoded(model: Model, pack: Sequence[Item]) -> Tensor:
    """The pictures as the VAE gives them, before they are rounded to eight bits."""
    seen: list[Tensor] = []
    hook = model.pipe.vae.decoder.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    try:
        draw.drawn(Studio(model), tuple(pack))
    finally:
        hook.remove()
    return torch.cat(seen)


def kind(model: Model) -> Any:
    """What the painter packs by."""
    return lambda item: (packing.shape(item), packing.chunks(item, model.pipe.tokenizer))


@pytest.mark.parametrize("sampler", ["PLMS", "Euler a", "DPM++ 2M Karras"])
def test_alone_and_packed(model: Model, write: Write, sampler: str) -> None:
    items = asked(write(*MIXED, sampler=sampler, steps=4)).items
    (pack,) = packing.packed(items, 8, kind(model))
    assert pack == items
    together = decoded(model, pack)
    alone = torch.cat([decoded(model, [item]) for item in items])
    assert (together - alone).abs().max() <= TOLERANCE
    # Pictures that were all alike would pass for the wrong reason.
    assert all((alone[i] - alone[j]).abs().max() > 100 * TOLERANCE for i in range(4) for j in range(i))


def test_alone_and_packed_in_sdxl(xl: Model, write: Write) -> None:
    items = asked(write(*MIXED, sampler="Euler", steps=3)).items
    together = decoded(xl, items)
    alone = torch.cat([decoded(xl, [item]) for item in items])
    assert (together - alone).abs().max() <= TOLERANCE


def test_prompts_of_other_lengths_are_packed_apart(model: Model, write: Write) -> None:
    jobs = [{**MIXED[0]}, {"prompt": LONG, "negative": "x"}, {"prompt": "a dog", "negative": LONG}, {**MIXED[1]}]
    short, long, long_negative, other = asked(write(*jobs)).items
    packs = packing.packed([short, long, long_negative, other], 8, kind(model))
    assert packs == [(short, other), (long, long_negative)]
    together, alone = decoded(model, packs[1]), torch.cat([decoded(model, [item]) for item in packs[1]])
    assert (together - alone).abs().max() <= TOLERANCE
    # And this is why: padded to the length of its neighbour, a picture becomes another one.
    assert (decoded(model, [short, long])[0] - decoded(model, [short])[0]).abs().max() > 10 * TOLERANCE


def test_without_guidance_a_long_negative_prompt_does_not_count(model: Model, write: Write) -> None:
    items = asked(write({"prompt": "a cat", "negative": LONG}, {"prompt": "a dog", "negative": "x"}, cfg=1.0)).items
    assert packing.packed(items, 8, kind(model)) == [items]


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 3},
        {"cfg": 5.0},
        {"sampler": "Euler"},
        {"width": 40},
        {"clip_skip": 2},
        {"drift": True},
        {"negative": ""},
    ],
)
def test_other_shapes_are_packed_apart(write: Write, change: dict[str, Any]) -> None:
    items = asked(write(MIXED[0], {**MIXED[1], **change}, {**MIXED[2]})).items
    assert packing.packed(items, 8) == [(items[0], items[2]), (items[1],)]


def test_packs_of_one_model_stand_together_and_are_at_most_so_large(write: Write, tiny_model: Path) -> None:
    other = {"model": "other/model"}
    jobs = [{**MIXED[0], "count": 5}, {**MIXED[1], **other}, {**MIXED[2]}, {**MIXED[3], **other}]
    packs = packing.packed(asked(write(*jobs)).items, 4)
    assert [[item.job_name for item in pack] for pack in packs] == [
        ["job1"] * 4,
        ["job1", "job3"],
        ["job2", "job4"],
    ]
