"""Whether a batch survives being killed, and what packing saves.

    python -m benchmarks.batches survive examples/thousand.yaml --out FOLDER
    python -m benchmarks.batches throughput examples/thousand.yaml

Both run the command line in processes of their own, as a user would, and print JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lib_ebca.language.plan import Plan
from lib_ebca.studio import infotext
from lib_ebca.studio.pictures import open_picture
from lib_ebca.studio.recipe import from_text

# The room beside this one, which has a longer name in a wheel.
_EBCA = (sys.executable, "-m", f"{__package__}.cli".replace("benchmarks.", ""))
_MANIFEST = "manifest.jsonl"
_POLL = 0.05  # seconds

app = typer.Typer(add_completion=False)


Line = dict[str, Any]
"""A line of the manifest, or of `ebca batch --list --json`, which says all that makes a picture."""


@dataclass(frozen=True)
class Attempt:
    """One process. `pictures` are the lines of the manifest when it ended, `unlisted` the pictures without a line then,
    `parts` the files that were still being written."""

    killed: bool
    seconds: float
    pictures: int
    unlisted: int
    parts: int


@dataclass(frozen=True)
class Survival:
    """A run that was killed and started again until it was through, after which everything was checked."""

    pictures: int
    attempts: tuple[Attempt, ...]

    @property
    def seconds(self) -> float:
        """Of all attempts together."""
        return sum(attempt.seconds for attempt in self.attempts)


@dataclass(frozen=True)
class Way:
    """Seconds of one round: on the clock, of CPU time (which tells more where other programs run), and on the clock of
    the drawing alone, without starting Python, loading the model and writing files."""

    clock: float
    cpu: float
    drawing: float


@dataclass(frozen=True)
class Throughput:
    """The same pictures made in several ways. `difference` is the largest between two ways, of 255 levels."""

    pictures: int
    ways: dict[str, tuple[Way, ...]]
    difference: int


def survive(jobs: Path, out: Path, kills: int, batch_size: int, seed: int) -> Survival:
    """Runs the jobs, with SIGKILL at so many random moments, into a folder that must not be there yet.

    A moment is a random number of pictures and then a random part of the time that one batch takes. Raises
    AssertionError where a picture is missing, torn, double or without its recipe.
    """
    assert not out.exists(), f"{out} is there already"
    items = listed(jobs)
    command = [*_EBCA, "batch", str(jobs), "--out", str(out), "--batch-size", str(batch_size), "--quiet"]
    chance = random.Random(seed)
    attempts = []
    for pictures in (*sorted(chance.sample(range(1, len(items) - batch_size), kills)), None):
        started = time.perf_counter()
        process = subprocess.Popen(command)
        try:
            while process.poll() is None and (pictures is None or _counted(out) < pictures):
                time.sleep(_POLL)
            if pictures is not None and process.poll() is None:
                last = lines(out)[-1]
                time.sleep(chance.uniform(0, last["seconds"] * last["batch"]))
            killed = process.poll() is None
        finally:
            process.kill()
            code = process.wait()
        assert killed or code == 0, f"the run ended with exit code {code}"
        attempts.append(_attempt(out, killed, time.perf_counter() - started))
    check(items, out)
    return Survival(len(items), tuple(attempts))


def listed(jobs: Path) -> list[Line]:
    """All that makes each picture that the jobs ask for."""
    command = [*_EBCA, "batch", str(jobs), "--list", "--json"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout
    return [json.loads(line) for line in printed.splitlines()]


def lines(out: Path) -> list[Line]:
    """The manifest's lines for pictures, without one that a kill tore."""
    found = []
    for text in (out / _MANIFEST).read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(text))
    return [line for line in found if line["kind"] == "picture"]


def check(items: Sequence[Line], out: Path) -> None:
    """Every picture is there once, can be read, and has its line and its recipe."""
    made = lines(out)
    assert Counter(line["key"] for line in made) == Counter(item["key"] for item in items), (
        "not a line for each picture"
    )
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert names == sorted(item["name"] for item in items), "the files are not those that were asked for"
    assert all(_intact(line, out) for line in made), "a picture is not as written"
    for item in items:
        text = infotext.from_picture(open_picture(out / item["name"]))
        assert text is not None, f"{item['name']} has no recipe"
        recipe, _ = from_text(text)
        found = (recipe.prompt, recipe.plan, recipe.seed, recipe.settings.steps)
        wanted = (item["prompt"], Plan.from_dict(item["plan"]), item["seed"], item["steps"])
        assert found == wanted, f"{item['name']}: {text}"


def _intact(line: Line, out: Path) -> bool:
    path = out / line["path"]
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == line["sha256"]


def throughput(items: Sequence[Line], batch_size: int, rounds: int) -> Throughput:
    """Makes the items, which are from text, in each of three ways; each round starts with another way."""
    ways = ("a shell loop of ebca txt2img", "unpacked", f"packed by {batch_size}")
    sizes = (None, 1, batch_size)
    timed: list[list[Way]] = [[] for _ in ways]
    difference = 0
    for turn in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folders = [Path(name) / str(place) for place in range(len(ways))]
            for place in range(len(ways)):
                which = (turn + place) % len(ways)
                timed[which].append(_timed(items, folders[which], sizes[which]))
            difference = max(difference, _difference(items, folders))
    return Throughput(len(items), {way: tuple(timed[i]) for i, way in enumerate(ways)}, difference)


def _counted(out: Path) -> int:
    manifest = out / _MANIFEST
    return manifest.read_text(encoding="utf-8").count('"kind": "picture"') if manifest.exists() else 0


def _attempt(out: Path, killed: bool, seconds: float) -> Attempt:
    """What a process left behind. Whatever has a line must be whole."""
    made = lines(out)
    assert all(_intact(line, out) for line in made), "a line without its picture"
    assert '"kind": "failed"' not in (out / _MANIFEST).read_text(encoding="utf-8"), "a picture failed"
    named = {line["path"] for line in made}
    unlisted = sum(path.relative_to(out).as_posix() not in named for path in out.rglob("*.png"))
    return Attempt(killed, round(seconds, 1), len(named), unlisted, sum(1 for _ in out.rglob(".*.part")))


def _timed(items: Sequence[Line], out: Path, batch_size: int | None) -> Way:
    """What the items took, in batches or else in one process for each."""
    if batch_size is None:
        commands = [_alone(item, out) for item in items]
    else:
        jobs = out.with_suffix(".jsonl")
        jobs.write_text("\n".join(json.dumps(_job(item)) for item in items), encoding="utf-8")
        commands = [[*_EBCA, "batch", str(jobs), "--out", str(out), "--batch-size", str(batch_size), "--json"]]
    started, before = time.perf_counter(), os.times()
    printed = [subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout for command in commands]
    clock, after = time.perf_counter() - started, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Way(clock, cpu, sum(json.loads(line)["seconds"] for text in printed for line in text.splitlines()))


def _job(item: Line) -> Line:
    """The picture as a job of its own."""
    fields = ("prompt", "negative", "model", "steps", "cfg", "seed", "bcu", "edit", "boost", "sampler")
    return {name: item[name] for name in fields if name != "sampler" or item[name] is not None}


def _alone(item: Line, out: Path) -> list[str]:
    job = _job(item)
    prompt = job.pop("prompt")
    options = [f"--{name}={value}" for name, value in job.items() if isinstance(value, str | int | float)]
    lists = [f"--{name}={value}" for name in ("edit", "boost") for value in job[name]]
    return [*_EBCA, "txt2img", *options, *lists, "--out", str(out), "--json", "--", prompt]


def _difference(items: Sequence[Line], folders: Sequence[Path]) -> int:
    """The largest between the pictures of one item, which the first folder, that of the loop, has under numbers."""
    import numpy as np

    numbered = sorted(folders[0].glob("*.png"))
    largest = 0
    for item, path in zip(items, numbered, strict=True):
        shown = [np.asarray(open_picture(each), dtype=int) for each in (path, *(f / item["name"] for f in folders[1:]))]
        largest = max(largest, int(np.ptp(np.stack(shown), axis=0).max()))
    return largest


JobsArgument = Annotated[Path, typer.Argument(help="The jobs.")]
BatchSizeOption = Annotated[int, typer.Option("--batch-size", help="Pictures drawn together.")]


@app.command("survive")
def survive_command(
    jobs: JobsArgument,
    out: Annotated[Path, typer.Option(help="A folder that is not there yet, for the pictures.")],
    kills: Annotated[int, typer.Option(help="Kills on the way.")] = 3,
    batch_size: BatchSizeOption = 8,
    seed: Annotated[int, typer.Option(help="Of the moments of the kills.")] = 0,
) -> None:
    """Kill a batch at random moments, start it again, and check every picture."""
    survived = survive(jobs, out, kills, batch_size, seed)
    rate = round(survived.pictures / survived.seconds, 3)
    facts = {"seconds": round(survived.seconds, 1), "pictures_per_second": rate, "batch_size": batch_size, "seed": seed}
    typer.echo(json.dumps({**asdict(survived), **facts, "each_once_whole_with_its_recipe": True}, indent=2))


@app.command("throughput")
def throughput_command(
    jobs: JobsArgument,
    sample: Annotated[int, typer.Option(help="Pictures, spread over the jobs.")] = 24,
    batch_size: BatchSizeOption = 8,
    rounds: Annotated[int, typer.Option(help="Times that each way has its turn.")] = 3,
) -> None:
    """Time a shell loop of `ebca txt2img`, an unpacked batch and a packed one, side by side."""
    items = listed(jobs)
    timed = throughput(items[:: max(1, len(items) // sample)][:sample], batch_size, rounds)
    loop, unpacked, _ = timed.ways.values()
    facts = {
        name: {
            "rounds": [{what: round(seconds, 2) for what, seconds in asdict(way).items()} for way in ways],
            "pictures_per_second": round(timed.pictures / statistics.median(way.clock for way in ways), 3),
            "times_as_fast_as_the_loop": _faster(loop, ways, "clock"),
            "times_as_fast_as_the_loop_in_cpu_time": _faster(loop, ways, "cpu"),
            "drawing_times_as_fast_as_unpacked": _faster(unpacked, ways, "drawing"),
        }
        for name, ways in timed.ways.items()
    }
    typer.echo(
        json.dumps({"pictures": timed.pictures, "largest_difference": timed.difference, "ways": facts}, indent=2)
    )


def _faster(slow: Sequence[Way], fast: Sequence[Way], what: str) -> float:
    """The median over the rounds of how often one goes into the other."""
    ratios = [getattr(one, what) / getattr(other, what) for one, other in zip(slow, fast, strict=True)]
    return round(statistics.median(ratios), 2)


if __name__ == "__main__":
    app()
