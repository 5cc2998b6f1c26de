"""Whether a batch survives being killed, and what packing saves: `python -m benchmarks.batches JOBS --out FOLDER`.

The batch is run by the command line, in processes that are killed with SIGKILL each time another share of the pictures
is there, and started again. Then the folder is checked, and a sample is timed in three ways, each in fresh processes:
packed, one by one in one process, and as a shell loop of `ebca txt2img`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.batch.items import Item
from cli.batch.manifest import NAME, Manifest
from cli.batch.session import Options, asked_in
from cli.batch.store import Store
from cli.pictures import open_picture

_EBCA = (sys.executable, "-m", "cli")
_POLL = 0.05  # seconds


@dataclass(frozen=True)
class Survival:
    """A run that was killed. `found` are the pictures that the manifest held at each kill, `seconds` all attempts."""

    pictures: int
    found: tuple[int, ...]
    seconds: float


def survive(jobs: Path, out: Path, kills: int, batch_size: int) -> Survival:
    """Runs the jobs with so many kills on the way. Raises AssertionError where a picture is missing, torn or double."""
    items = asked_in(jobs, Options(str(out))).items
    command = [*_EBCA, "batch", str(jobs), "--out", str(out), "--batch-size", str(batch_size), "--quiet"]
    found = []
    started = time.perf_counter()
    for kill in range(1, kills + 1):
        process = subprocess.Popen(command)
        while process.poll() is None and _made(out) < len(items) * kill // (kills + 1):
            time.sleep(_POLL)
        process.kill()
        process.wait()
        found.append(_made(out))
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    _check(items, out)
    return Survival(len(items), tuple(found), seconds)


def throughput(items: Sequence[Item], batch_size: int) -> dict[str, float]:
    """Pictures per second of the items, which are from text, in each of three ways, loading included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = folder / "jobs.jsonl"
        jobs.write_text("\n".join(json.dumps(_job(item)) for item in items), encoding="utf-8")
        batch = [*_EBCA, "batch", str(jobs), "--quiet"]
        ways = {
            f"packed, {batch_size} at a time": [[*batch, "--out", str(folder / "a"), "--batch-size", str(batch_size)]],
            "unpacked": [[*batch, "--out", str(folder / "b"), "--batch-size", "1"]],
            "a loop of ebca txt2img": [_alone(item, folder / "c") for item in items],
        }
        return {way: len(items) / _seconds(commands) for way, commands in ways.items()}


def _made(out: Path) -> int:
    manifest = out / NAME
    return manifest.read_text(encoding="utf-8").count('"kind": "picture"') if manifest.exists() else 0


def _check(items: Sequence[Item], out: Path) -> None:
    store = Store(str(out))
    history = Manifest(store).read()
    keys = {item.key for item in items}
    assert set(history.intact(store)) == keys, "a picture is missing or torn"
    assert {path.name for path in out.rglob("*.png")} == {Path(item.name).name for item in items}, "too many pictures"
    for item in items:
        open_picture(out / item.name)
    lines = map(json.loads, (out / NAME).read_text(encoding="utf-8").splitlines())
    written = Counter(line["key"] for line in lines if line["kind"] == "picture")
    assert set(written.values()) == {1}, "a picture was made twice"


def _job(item: Item) -> dict[str, Any]:
    settings = item.settings
    job: dict[str, Any] = {
        "prompt": item.wanted.prompt,
        "negative": settings.negative,
        "model": settings.model,
        "steps": settings.steps,
        "cfg": settings.guidance,
        "seed": item.seed,
        "bcu": item.job.bcu,
        "edit": list(item.job.edit),
        "boost": list(item.job.boost),
    }
    return job if settings.sampler is None else {**job, "sampler": settings.sampler}


def _alone(item: Item, out: Path) -> list[str]:
    job = _job(item)
    prompt = job.pop("prompt")
    options = [f"--{name}={value}" for name, value in job.items() if isinstance(value, str | int | float)]
    lists = [f"--{name}={value}" for name in ("edit", "boost") for value in job[name]]
    return [*_EBCA, "txt2img", *options, *lists, "--out", str(out), "--quiet", "--", prompt]


def _seconds(commands: Sequence[Sequence[str]]) -> float:
    started = time.perf_counter()
    for command in commands:
        subprocess.run(command, check=True)
    return time.perf_counter() - started


def main(
    jobs: Annotated[Path, typer.Argument(help="The jobs.")],
    out: Annotated[Path, typer.Option(help="An empty folder for the pictures.")],
    kills: Annotated[int, typer.Option(help="Kills on the way.")] = 3,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Pictures drawn together.")] = 8,
    sample: Annotated[int, typer.Option(help="Pictures that are timed in three ways; 0 leaves that out.")] = 24,
) -> None:
    """Kill a batch, check it, and time a sample of it."""
    survived = survive(jobs, out, kills, batch_size)
    rate = survived.pictures / survived.seconds
    typer.echo(f"{survived.pictures} pictures, killed at {', '.join(map(str, survived.found))}: each there once, whole")
    typer.echo(f"{survived.seconds:.1f} s in {kills + 1} attempts, {rate:.2f} pictures/s, loading included")
    if sample:
        for way, speed in throughput(asked_in(jobs, Options(str(out))).items[:sample], batch_size).items():
            typer.echo(f"{way:24} {speed:.3f} pictures/s over {sample}, loading included")


if __name__ == "__main__":
    typer.run(main)
