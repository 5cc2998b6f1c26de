"""Subjects that are read off all layers by the heads that care for a concept, on whole pipelines."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lib_ebca import Excite, Plan
from lib_ebca.attention.excitation import Reading
from lib_ebca.hosts.diffusers import HostError, energy_attention
from lib_ebca.methods.head_vectors import UnknownConceptError
from tests import tiny_pipe
from tests.hosts.test_concepts import vectors_of
from tests.hosts.test_diffusers import fingerprint
from tests.hosts.test_excite import PROMPT, sample

READ = ":concept=Color"
CAT = f"<excite:cat:scale=2000{READ}>"
SOFA = "<excite:sofa:scale=2000>"


def drawn(pipe: Any, plan: str, **asked: Any) -> tuple[Tensor, Any]:
    options = {"vectors": vectors_of(pipe), **asked.pop("options", {})}
    return sample(pipe, plan, options=options, **asked)


def test_a_subject_gains_and_nothing_is_left(pipe: Any) -> None:
    plain, _ = drawn(pipe, SOFA)
    before = fingerprint(pipe)
    _, run = drawn(pipe, CAT, options={"record_maps": True})
    assert run.excited[0].maps["cat"].shape == (8, 8)
    assert run.excited[0].after["cat"] > run.excited[0].scores["cat"]
    assert fingerprint(pipe) == before
    assert torch.equal(drawn(pipe, SOFA)[0], plain)


def test_pictures_are_moved_in_a_batch_as_they_are_alone(pipe: Any) -> None:
    # Refinement is chaotic on random weights: rounding decides how often it moves.
    plans = [f"<excite:{word}:scale=20:refine=off{concept}>" for word, concept in (("cat", READ), ("sofa", ""))]
    plans.append(" ".join(plans))
    together, _ = drawn(pipe, "|".join(plans), prompt=[PROMPT] * 3, seeds=(0, 1, 2))
    alone = torch.cat([drawn(pipe, plan, seeds=(seed,))[0] for seed, plan in enumerate(plans)])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-3)


def test_a_concept_reads_other_heads() -> None:
    pipe = tiny_pipe.sd1()
    scores = [
        drawn(pipe, f"<excite:cat:refine=off:concept={concept}>")[1].excited[0].scores["cat"]
        for concept in ("Color", "Plants")
    ]
    assert scores[0] != scores[1]


def test_checkpointing_changes_nothing() -> None:
    pipe = tiny_pipe.sd1()
    plain, _ = drawn(pipe, f"{CAT} {SOFA}")
    kept, _ = drawn(pipe, f"{CAT} {SOFA}", options={"reading": Reading(checkpointing=True)})
    torch.testing.assert_close(kept, plain)


def test_what_cannot_be_served_is_one_sentence() -> None:
    pipe = tiny_pipe.sd1()
    with pytest.raises(UnknownConceptError, match=r"no concept 'Colour' \(did you mean Color\?\)"):
        drawn(pipe, "<excite:cat:concept=Colour>")
    with (
        pytest.raises(HostError, match="need the prompt in words"),
        energy_attention(pipe, Plan(excite=(Excite("cat", concept="Color"),)), vectors=vectors_of(pipe)),
    ):
        pipe(prompt_embeds=torch.zeros(1, 77, 32), negative_prompt_embeds=torch.zeros(1, 77, 32))
