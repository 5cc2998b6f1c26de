"""Every way of calling diffusers' pipelines: the rows and the time a plan acts on, or the sentence that refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lib_ebca.attention.cascade import Cascade
from lib_ebca.attention.picture import Rows
from lib_ebca.hosts.diffusers import HostError, energy_attention
from lib_ebca.hosts.unet import installed
from tests.hosts.matrix import CASES, REFUSED, STEPS, Case
from tests.hosts.witness import NEGATIVE, PLAN, PROMPT, Call, Witness, argument, compared, witnessed

PAGE = Path(__file__).parents[2] / "docs" / "hosts.md"


def call(case: Case, pipe: Any, asked: dict[str, Any]) -> Any:
    torch.manual_seed(4)
    asked = {**asked, "num_inference_steps": case.options.get("steps", STEPS)}
    if "Consistency" not in case.name:
        asked["negative_prompt"] = NEGATIVE
    asked.setdefault("output_type", "latent")
    result = pipe(PROMPT, generator=torch.Generator().manual_seed(0), **asked)
    return result[0]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} {case.how}".strip())
def test_the_plan_acts_on_its_rows_and_at_its_time(case: Case) -> None:
    pipe, asked = case.make()
    with energy_attention(pipe, PLAN) as run, witnessed(pipe) as calls:
        found = call(case, pipe, asked)
    assert run.comments == []
    executed = {float(torch.as_tensor(argument(each, 1, "timestep")).reshape(-1)[0]) for each in calls}
    witness = Witness(pipe, len(executed))
    if case.coupled:
        again = replayed(case, pipe, asked, witness)
        assert torch.allclose(torch.as_tensor(found), torch.as_tensor(again), atol=2e-5)
        return
    acted = 0
    for each in calls:
        acted += compared(pipe, each, witness)
    assert acted


def replayed(case: Case, pipe: Any, asked: dict[str, Any], witness: Witness) -> Any:
    """The pipeline again, its layers led by the witness."""
    current: list[Cascade | None] = [None]
    cascade = witness.cascade(2)

    def before(module: Any, args: Any, keywords: Any) -> None:
        made = Call(args, keywords, torch.empty(0))
        sample, given = argument(made, 0, "sample"), argument(made, 2, "encoder_hidden_states")
        sides = witness.sides(given)
        assert None not in sides
        rows = Rows((0,) * len(sides), tuple(map(bool, sides)))
        cascade.begin(rows, (sample.shape[-2], sample.shape[-1]), witness.number(argument(made, 1, "timestep")))
        current[0] = cascade

    handle = pipe.unet.register_forward_pre_hook(before, with_kwargs=True)
    try:
        with installed(pipe.unet, lambda: current[0], pytest.fail):
            return call(case, pipe, asked)
    finally:
        handle.remove()


def table() -> str:
    """The page's table of pipelines."""
    ways: dict[str, list[str]] = {}
    for case in CASES:
        ways.setdefault(case.name, []).extend([case.how] if case.how else [])
    lines = ["| pipeline | also called with | a plan acts on |", "| --- | --- | --- |"]
    lines += [f"| {name} | {', '.join(how)} | its rows, at its steps |" for name, how in sorted(ways.items())]
    lines += [f"| {name} | | nothing: one sentence says why |" for name, _ in sorted(REFUSED, key=lambda each: each[0])]
    return "\n".join(lines)


def test_the_page_has_the_table() -> None:
    assert table() in PAGE.read_text(encoding="utf-8"), f"docs/hosts.md should hold\n\n{table()}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "make"), REFUSED, ids=[name for name, _ in REFUSED])
def test_what_is_not_served_says_so(name: str, make: Any) -> None:
    with pytest.raises(HostError, match=f"^{name} cannot be served: it[^.]*$"), energy_attention(make(), PLAN):
        pass


@pytest.mark.slow
def test_what_a_pipeline_does_beside_its_pictures() -> None:
    """DiffEdit's mask and inversion: no step of a pass, or of two prompts at once."""
    case = next(each for each in CASES if each.name == "StableDiffusionDiffEditPipeline")
    pipe, _ = case.make()
    image = torch.rand(1, 3, 16, 16)
    with energy_attention(pipe, PLAN) as run:
        pipe.generate_mask(
            image, source_prompt="a cat", target_prompt="a dog", num_inference_steps=STEPS, num_maps_per_mask=2
        )
        pipe.invert(prompt="a cat", image=image, num_inference_steps=STEPS)
    assert len(run.comments) == 2
    assert "encoded several prompts" in run.comments[0]
    assert "at a timestep that is none of" in run.comments[1]
