"""Curves of a run, for those who ask for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cli.batch.logs import logging_to
from cli.batch.outcome import Failed, Made, Note
from cli.batch.progress import Rates, Teller
from cli.batch.store import Store
from lib_ebca.studio.errors import UserError

PICTURE = Made("k", "job[1]", "k.png", 1, "0", "a cat", 1, {}, "m", "0", 1, 0.5, 2, ("so it is",), "1")
OUTCOMES = (PICTURE, Note("a sentence"), Failed("f", "job[2]", "jobs.yaml:1", "too large", None, "1"), PICTURE)


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with logging_to("tensorboard", Store(str(tmp_path)), {"pictures": 3}) as log:
        for outcome in OUTCOMES:
            log(outcome)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("made")] == [(1, 1.0), (2, 1.0), (3, 2.0)]
    assert [event.value for event in events.Scalars("failed")] == [0.0, 1.0, 1.0]
    assert [event.value for event in events.Scalars("seconds per picture")] == [0.5, 0.5]


@pytest.mark.slow
def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra `wandb` is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    with logging_to("wandb", Store(str(tmp_path / "out")), {"pictures": 3}) as log:
        for outcome in OUTCOMES:
            log(outcome)
    assert list(tmp_path.rglob("*.wandb"))


def test_off_nothing_is_loaded(tmp_path: Path) -> None:
    before = {name for name in sys.modules if name.startswith(("wandb", "tensorboard"))}
    with logging_to(None, Store(str(tmp_path)), {}) as log:
        log(PICTURE)
    assert {name for name in sys.modules if name.startswith(("wandb", "tensorboard"))} == before
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_log(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--log is 'paper'"), logging_to("paper", Store(str(tmp_path)), {}):
        pass


def test_sentences_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    teller = Teller(as_json=False)
    for outcome in OUTCOMES * 2:
        teller.tell(outcome)
    assert capsys.readouterr().err.splitlines() == ["Note: so it is", "a sentence", "job[2] failed: too large"]


def test_rates_are_those_of_each_worker() -> None:
    rates = Rates()
    for number in range(3):
        rates.count("1")
        rates.count(str(number))
    assert set(rates.of_each()) == {"0", "1", "2"}
    assert rates.of_each()["1"] > 0
    many = Rates()
    for number in range(20):
        many.count(str(number))
    assert "of 20 workers" in str(many)
