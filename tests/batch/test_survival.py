"""The benchmark that kills batches and times them, on a few pictures; and the jobs it is meant for."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.batches import survive, throughput
from cli.locate import embedded
from tests.batch.conftest import Write, asked

THOUSAND = Path(__file__).parents[2] / "examples" / "thousand.yaml"


@pytest.mark.slow
def test_a_batch_survives_and_is_timed(write: Write, tmp_path: Path) -> None:
    file = write({"prompt": "a cat <bcu:1:1>", "count": 6, "boost": "cat:2", "negative": "x", "sampler": "Euler"})
    survived = survive(file, tmp_path / "out", kills=1, batch_size=2)
    assert (survived.pictures, survived.found[0] >= 3) == (6, True)
    rates = throughput(asked(file).items[:2], batch_size=2)
    assert len(rates) == 3 and min(rates.values()) > 0


@pytest.mark.skipif("shapes" not in embedded(), reason="the embedded model is not there")
def test_the_thousand_are_a_thousand() -> None:
    found = asked(THOUSAND)
    assert (len(found.items), found.doubles) == (1000, 0)
