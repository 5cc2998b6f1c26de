"""A compiled UNet under a plan: the eager pictures, one graph for each thing that the plan does, never a break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import ModelMixin
from torch import Tensor

from lib_ebca import Plan
from lib_ebca.hosts.diffusers import BLOCKS, HostError, energy_attention
from lib_ebca.hosts.unet import cross_attention_layers
from lib_ebca.language.directives import parse
from tests import tiny_pipe

BCU = parse("<bcu:0.05:0.1>").plan
OTHER_GAMMAS = parse("<bcu:0.07:0.3:schedule=linear:ratio=0.01>").plan
EDITS = parse("<edit:dog:0.5:attn=0.01> <edit:castle:-0.3> <boost:cat:2>").plan
LATER = parse("<bcu:0.05:0.1> <edit:dog:0.5:from=0.5>").plan
STEPS = 4


aside = pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="torch before 2.6 sets no graph aside")


@pytest.fixture(autouse=True)
def counters() -> Iterator[Any]:
    """dynamo's own counts, from nothing."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()


def compiled(pipe: Any, way: str) -> Any:
    """The two ways of compiling a UNet; the backend runs eager's kernels, so that bits can be compared."""
    if way == "torch.compile(unet)":
        pipe.unet = torch.compile(pipe.unet, backend="eager")
    else:
        pipe.unet.compile(backend="eager")
    return pipe


def sample(pipe: Any, plan: Plan, cross_attention_kwargs: Any = None, **options: Any) -> Tensor:
    with energy_attention(pipe, plan, **options) as run:
        result = pipe(
            "a cat on a sofa",
            negative_prompt="",
            num_inference_steps=STEPS,
            output_type="latent",
            generator=torch.Generator().manual_seed(0),
            cross_attention_kwargs=cross_attention_kwargs,
        )
    assert not run.comments
    images: Tensor = result.images
    return images


@pytest.mark.parametrize("way", ["torch.compile(unet)", "unet.compile()"])
def test_no_break_and_no_graph_more_than_the_plan_has_parts(way: str, counters: Any) -> None:
    eager, graph = tiny_pipe.sd1(), compiled(tiny_pipe.sd1(), way)
    graphs = 0
    for plan, new in ((Plan(), 1), (BCU, 1), (OTHER_GAMMAS, 0), (Plan(), 0), (BCU, 0), (EDITS, 1), (EDITS, 0)):
        wanted, found = sample(eager, plan), sample(graph, plan)
        graphs += new
        assert counters["stats"]["unique_graphs"] == graphs
        assert torch.equal(found, wanted)
    assert not counters["graph_break"]
    assert "forward" not in vars(graph.unet.up_blocks[1].attentions[0].transformer_blocks[0].attn2)


def test_an_edit_that_begins_later_is_one_graph_more(counters: Any) -> None:
    eager, graph = tiny_pipe.sdxl(), compiled(tiny_pipe.sdxl(), "torch.compile(unet)")
    for _ in range(2):
        assert torch.equal(sample(graph, LATER), sample(eager, LATER))
        assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]


def test_masks_and_drift_are_followed_in_a_graph_too() -> None:
    eager, graph = tiny_pipe.sd1(), compiled(tiny_pipe.sd1(), "unet.compile()")
    options = {"mask": torch.eye(8), "drift": True}
    assert torch.equal(sample(graph, EDITS, **options), sample(eager, EDITS, **options))


@aside
def test_energies_are_recorded_outside_of_graphs(counters: Any) -> None:
    eager, graph = tiny_pipe.sd1(), compiled(tiny_pipe.sd1(), "unet.compile()")
    with energy_attention(graph, BCU, record_energies=True) as run:
        graph("a cat", num_inference_steps=1, output_type="latent")
    assert len(run.energies) == len(cross_attention_layers(eager.unet))
    assert not counters["stats"]
    assert torch.equal(sample(graph, BCU), sample(eager, BCU))
    assert counters["stats"]["unique_graphs"] == 1


def test_where_graphs_cannot_be_set_aside_it_is_said_and_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.compiler, "set_stance", raising=False)  # as torch before 2.6
    graph = compiled(tiny_pipe.sd1(), "unet.compile()")
    layer = graph.unet.up_blocks[1].attentions[0].transformer_blocks[0].attn2
    with (
        pytest.raises(HostError, match=r"cannot set compiled parts aside.*torch 2\.6"),
        energy_attention(graph, BCU, record_energies=True),
    ):
        raise AssertionError("the block was entered")
    assert "forward" not in vars(layer)
    assert "maybe_free_model_hooks" not in vars(graph)


def test_what_is_kept_is_made_at_the_scale_of_the_lora() -> None:
    eager, graph = tiny_pipe.with_lora(), compiled(tiny_pipe.with_lora(), "unet.compile()")
    half = {"scale": 0.5}
    wanted = sample(eager, EDITS, cross_attention_kwargs=half)
    assert torch.equal(sample(graph, EDITS, cross_attention_kwargs=half), wanted)
    assert not torch.allclose(sample(eager, EDITS), wanted, atol=1e-3)


@aside
@pytest.mark.skipif(
    not hasattr(ModelMixin, "compile_repeated_blocks"), reason="diffusers before 0.34 compiles no blocks one by one"
)
@pytest.mark.parametrize("fullgraph", [False, True])
def test_blocks_that_were_compiled_one_by_one_run_uncompiled_under_a_plan(fullgraph: bool, counters: Any) -> None:
    # More blocks than dynamo makes graphs of one function.
    eager, graph = tiny_pipe.sd1(layers_per_block=4), tiny_pipe.sd1(layers_per_block=4)
    graph.unet.compile_repeated_blocks(fullgraph=fullgraph, backend="eager")
    wanted = sample(eager, Plan())
    assert torch.equal(sample(graph, Plan()), wanted)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs
    with energy_attention(graph, EDITS) as run:
        found = graph(
            "a cat on a sofa",
            negative_prompt="",
            num_inference_steps=STEPS,
            output_type="latent",
            generator=torch.Generator().manual_seed(0),
        ).images
    assert run.comments == [BLOCKS]
    assert torch.equal(found, sample(eager, EDITS))
    assert torch.equal(sample(graph, Plan()), wanted)
    assert counters["stats"]["unique_graphs"] == graphs
