"""The unoptimised peer computes the same method: its pictures are ours, only dearer."""

from __future__ import annotations

import pytest
import torch

from benchmarks.architectures import build, inputs, twin
from benchmarks.ways import WAYS, caller


@pytest.mark.parametrize(("published", "ours"), [("published", "bcu"), ("published+2", "bcu+2")])
def test_it_answers_as_the_cascade_does(published: str, ours: str) -> None:
    unet = build("tiny", torch.device("cpu"), torch.float64)
    given = inputs(unet, 1, (8, 16))
    answers = []
    for name in (published, ours, "stock"):
        own = twin(unet)
        processors = own.attn_processors
        with torch.no_grad(), WAYS[name].prepare(own, given, caller(own, None)) as evaluation:
            first = evaluation.run()
            assert torch.equal(evaluation.run(), first)
            answers.append(first)
        assert all(own.attn_processors[key] is processor for key, processor in processors.items())
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-10, atol=1e-10)
    assert (answers[0] - answers[2]).abs().max() > 1e-3


def test_perturbed_guidance_leaves_the_first_rows_alone() -> None:
    unet = build("tiny", torch.device("cpu"), torch.float64)
    given = inputs(unet, 2, (8, 8))
    answers = []
    for name in ("pag", "stock"):
        own = twin(unet)
        with torch.no_grad(), WAYS[name].prepare(own, given, caller(own, None)) as evaluation:
            answers.append(evaluation.run())
    assert answers[0].shape[0] == 6
    torch.testing.assert_close(answers[0][:4], answers[1], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(answers[0][4:], answers[1][2:])
