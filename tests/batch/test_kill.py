"""Killed at any moment and started again, a run ends with every picture once, and all of them whole."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from cli.batch.manifest import NAME, Manifest
from cli.batch.store import Store
from lib_ebca.studio.pictures import open_picture
from tests.batch import killed
from tests.batch.conftest import Write, asked

PICTURES = 8


@pytest.fixture(scope="module")
def context() -> multiprocessing.context.ForkServerContext:
    """Processes that have everything imported when they start."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.batch.killed"])
    return forks


def start(context: multiprocessing.context.ForkServerContext, file: Path, out: Path) -> ForkServerProcess:
    """A run that is on its way."""
    process = context.Process(target=killed.run, args=(str(file), str(out)))
    process.start()
    return process


def check_lines(out: Path) -> int:
    """Every line stands for a whole picture, at any moment. Gives how many there are."""
    history = Manifest(Store(str(out))).read()
    for line in history.made.values():
        open_picture(out / line["path"])
    assert set(history.intact(Store(str(out)))) == set(history.made)
    assert not history.failed
    return len(history.made)


def check_whole(file: Path, out: Path) -> None:
    """Every picture once, and nothing else."""
    expected = {item.name for item in asked(file).items}
    assert {path.name for path in out.iterdir()} - {NAME, ".lock"} == expected
    assert check_lines(out) == len(expected)
    keys = Counter(line.split('"key": "')[1][:16] for line in (out / NAME).read_text().splitlines() if '"key"' in line)
    assert set(keys.values()) == {1}


def kill_and_restart(
    context: multiprocessing.context.ForkServerContext, file: Path, tmp_path: Path, kills: int, seed: int
) -> list[int]:
    """Kills that many runs at random moments, in a new folder whenever one is full. Gives the lines found at each."""
    chance = random.Random(seed)
    whole = start(context, file, tmp_path / "whole")
    whole.join()
    started = time.perf_counter()
    whole = start(context, file, tmp_path / "timed")
    whole.join()
    length = time.perf_counter() - started
    assert whole.exitcode == 0
    check_whole(file, tmp_path / "timed")

    found: list[int] = []
    folder = 0
    while len(found) < kills:
        out = tmp_path / f"killed-{folder}"
        process = start(context, file, out)
        process.join(chance.uniform(0, length))
        if process.is_alive():
            process.kill()
            process.join()
            found.append(check_lines(out) if out.exists() else 0)
            continue
        assert process.exitcode == 0
        check_whole(file, out)
        folder += 1
    last = start(context, file, tmp_path / f"killed-{folder}")
    last.join()
    assert last.exitcode == 0
    check_whole(file, tmp_path / f"killed-{folder}")
    return found


def jobs(write: Write) -> Path:
    """Eight pictures of two shapes."""
    return write(
        {"prompt": "a cat <bcu:1:1>", "count": PICTURES // 2}, {"prompt": "a dog", "count": PICTURES // 2, "steps": 3}
    )


def test_killed_a_few_times(context: multiprocessing.context.ForkServerContext, write: Write, tmp_path: Path) -> None:
    kill_and_restart(context, jobs(write), tmp_path, kills=4, seed=0)


@pytest.mark.slow
def test_killed_fifty_times(context: multiprocessing.context.ForkServerContext, write: Write, tmp_path: Path) -> None:
    found = kill_and_restart(context, jobs(write), tmp_path, kills=50, seed=1)
    # Kills that all came before the first picture, or after the last, would show nothing.
    assert len(set(found)) > 2
