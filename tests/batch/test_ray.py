"""The same jobs on Ray's workers, one of which is killed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.batch.manifest import NAME, Manifest
from cli.batch.store import Store
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.pictures import open_picture
from tests.batch.conftest import Write, asked, carry_out

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
psutil = pytest.importorskip("psutil", reason="psutil is not installed")

JOBS = ({"prompt": "a cat <bcu:1:1>", "count": 6}, {"prompt": "a dog", "count": 6, "negative": "blurry"})
HURRY = 120.0  # seconds until the killing gives up
LIMIT = 300  # seconds that a test may take


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """A test that hangs fails instead, and no Ray outlives its test."""

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError(f"not done after {LIMIT} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        ray.shutdown()


def hands() -> list[int]:
    """The processes of this test's workers."""
    below = psutil.Process().children(recursive=True)
    return [process.pid for process in below if "Hands" in " ".join(process.cmdline())]


def kill_one_in_the_middle(out: Path, killed: list[int]) -> None:
    """Waits for the first lines of the manifest, then kills a worker."""
    until = time.monotonic() + HURRY
    while time.monotonic() < until:
        if (out / NAME).exists() and (out / NAME).read_text().count('"picture"') >= 2:
            killed += hands()[:1]
            os.kill(killed[0], signal.SIGKILL)
            return
        time.sleep(0.02)


def test_a_killed_worker_loses_and_doubles_nothing(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = write(*JOBS, steps=12), tmp_path / "out"
    killed: list[int] = []
    killer = threading.Thread(target=kill_one_in_the_middle, args=(out, killed))
    killer.start()
    summary = carry_out(file, f"file://{out}", engine="ray", workers=2, batch_size=1, as_json=True)
    killer.join()
    assert len(killed) == 1
    assert (summary.made, summary.failed, summary.left) == (12, 0, 0)
    expected = {item.name for item in asked(file).items}
    assert {path.name for path in out.glob("*.png")} == expected
    for name in expected:
        open_picture(out / name)
    history = Manifest(Store(str(out))).read()
    assert len(history.intact(Store(str(out)))) == 12
    lines = (out / NAME).read_text().splitlines()
    assert set(Counter(line.split('"key": "')[1][:16] for line in lines if '"key"' in line).values()) == {1}
    printed = capsys.readouterr()
    # It was at work when it was killed.
    assert "died; its pictures go to whoever is free" in printed.err
    assert [json.loads(line)["kind"] for line in printed.out.splitlines()] == ["picture"] * 12


def test_other_workers_do_not_see_a_folder_in_memory(write: Write) -> None:
    with pytest.raises(UserError, match="lives in one process"):
        carry_out(write(*JOBS), "memory://nowhere", engine="ray")


def test_no_workers(write: Write, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--workers is 0"):
        carry_out(write(*JOBS), tmp_path / "out", engine="ray", workers=0)
