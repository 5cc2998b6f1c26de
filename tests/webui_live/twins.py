"""The same pictures from a running WebUI and from the command line's way of drawing, and how far apart they are.

``python -m tests.webui_live.twins URL`` prints the table of docs/hosts.md; ``--write`` puts it there. The WebUI has the
checkpoint loaded that ``--model`` names for the command line: its own file, unless told, if it lies on this machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lib_ebca.studio.recipe import Recipe
from lib_ebca.studio.samplers import WEBUI_NAMES, WEBUI_SCHEDULES
from lib_ebca.studio.studio import Studio
from tests.webui_live.client import WebUI

PAGE = Path(__file__).parents[2] / "docs" / "hosts.md"
BEGIN, END = "<!-- twins -->\n", "<!-- /twins -->\n"
PROMPT = "a red circle and a blue square"
PLAN = " <bcu:0.01:0.02> <edit:green:0.5:from=0.2> <boost:square:2>"
LONG = ", ".join(["a red circle and a blue square on a white field"] * 9)
TIMESTEPS = ("DDIM", "PLMS", "UniPC")


@dataclass(frozen=True)
class Twin:
    """What both are asked: `recipe` fields in the studio's words."""

    name: str
    prompt: str = PROMPT
    sampler: str = "Euler"
    schedule: str = "Automatic"
    seed: int = 42
    steps: int = 20
    guidance: float = 3.0
    negative: str = ""
    clip_skip: int = 1
    count: int = 1


@dataclass(frozen=True)
class Apart:
    """How far two pictures are apart, in levels of 255."""

    largest: int
    mean: float

    @classmethod
    def of(cls, one: Sequence[bytes], other: Sequence[bytes]) -> Apart:
        """Of as many pictures as both have, which must be all."""
        if len(one) != len(other):
            raise ValueError(f"one made {len(one)} pictures and the other {len(other)}")
        pairs = [
            np.abs(np.frombuffer(a, np.uint8).astype(int) - np.frombuffer(b, np.uint8))
            for a, b in zip(one, other, strict=True)
        ]
        return cls(max(int(each.max()) for each in pairs), float(np.mean([each.mean() for each in pairs])))

    def __str__(self) -> str:
        return f"{self.largest} / {self.mean:.3f}"


class Pair:
    """A WebUI, and a studio with the checkpoint that it has loaded."""

    def __init__(self, webui: WebUI, model: str | None, size: int, theirs: int) -> None:
        title = webui.get("/sdapi/v1/options")["sd_model_checkpoint"]
        found = {each["title"]: each["filename"] for each in webui.get("/sdapi/v1/sd-models")}
        self.webui, self.size, self.theirs = webui, size, theirs
        self.studio = Studio.open(model or found[title], device="cpu", dtype="float32")

    def apart(self, twin: Twin) -> Apart:
        """How far a text-to-image job is apart."""
        return Apart.of(self.asked(twin), self.drawn(twin))

    def asked(self, twin: Twin, **more: Any) -> tuple[bytes, ...]:
        """The WebUI's pictures."""
        made = self.webui.make(
            prompt=twin.prompt,
            negative_prompt=twin.negative,
            sampler_name=twin.sampler,
            scheduler=twin.schedule,
            seed=twin.seed,
            steps=twin.steps,
            cfg_scale=twin.guidance,
            width=self.theirs,
            height=self.theirs,
            batch_size=twin.count,
            override_settings={"CLIP_stop_at_last_layers": twin.clip_skip},
            **more,
        )
        # With several pictures a grid of them stands first.
        return made.pictures[-twin.count :]

    def recipes(self, twin: Twin) -> list[Recipe]:
        """What the studio is asked."""
        first = self.studio.recipe(
            twin.prompt,
            seed=twin.seed,
            sampling="webui",
            sampler=twin.sampler,
            schedule=twin.schedule,
            steps=twin.steps,
            guidance=twin.guidance,
            negative=twin.negative,
            clip_skip=twin.clip_skip,
            width=self.size,
            height=self.size,
        )
        return [replace(first, seed=twin.seed + place) for place in range(twin.count)]

    def drawn(self, twin: Twin) -> tuple[bytes, ...]:
        """The studio's pictures."""
        return tuple(picture.image.tobytes() for picture in self.studio.draw(self.recipes(twin)))


def samplers(served: Sequence[str], schedules: Sequence[str]) -> Iterator[Twin]:
    """Every sampler and schedule type that both know."""
    for sampler in served:
        for schedule in ("Automatic",) if sampler in TIMESTEPS else schedules:
            yield Twin(sampler, sampler=sampler, schedule=schedule)


def features() -> tuple[Twin, ...]:
    """What else parts two programs that read the same prompt."""
    return (
        Twin("emphasis", "a (red:1.4) circle and a [blue] ((square))"),
        Twin("beyond 75 tokens", LONG),
        Twin("beyond 75 tokens, negative prompt of one chunk", LONG, negative="blurred"),
        Twin("`BREAK`", "a red circle BREAK a blue square"),
        Twin("negative prompt", negative="(blurred:1.2), grey"),
        Twin("batch of 2", sampler="Euler a", count=2),
        Twin("batch of 2, DPM++ 2M SDE", sampler="DPM++ 2M SDE", count=2),
        Twin("clip skip 2", clip_skip=2),
        Twin("guidance off", guidance=1.0),
        Twin("subjects", f"{PROMPT} <excite:circle> <excite:square>"),
        Twin("subjects, Heun", f"{PROMPT} <excite:circle> <excite:square>", sampler="Heun"),
        Twin("subjects, DDIM", f"{PROMPT} <excite:circle> <excite:square>", sampler="DDIM"),
    )


def table(pair: Pair, only: str, quick: bool, tell: Callable[[str], None]) -> str:
    """The page's lines."""
    known = {each["name"] for each in pair.webui.get("/sdapi/v1/samplers")}
    schedules = [each["label"] for each in pair.webui.get("/sdapi/v1/schedulers")]
    served = [name for name in WEBUI_NAMES if name in known and only in name]
    types = [name for name in WEBUI_SCHEDULES[: 1 if quick else None] if name in schedules]
    lines = ["| sampler, schedule type | plain | under a plan |", "| --- | --- | --- |"]
    for twin in samplers(served, types):
        name = twin.sampler if twin.sampler in TIMESTEPS else f"{twin.sampler}, {twin.schedule}"
        under = pair.apart(replace(twin, prompt=PROMPT + PLAN))
        lines.append(f"| {name} | {pair.apart(twin)} | {under} |")
        tell(lines[-1])
    lines += ["", "| Euler, Automatic unless said otherwise | plain | under a plan |", "| --- | --- | --- |"]
    for twin in features():
        under = pair.apart(replace(twin, prompt=twin.prompt + PLAN))
        lines.append(f"| {twin.name} | {pair.apart(twin)} | {under} |")
        tell(lines[-1])
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.webui_live.twins", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", help="of the command line")
    parser.add_argument("--size", type=int, default=64, help="of the command line's pictures")
    parser.add_argument("--webui-size", type=int, help="what the WebUI is asked for, if it takes the model for another")
    parser.add_argument("--quick", action="store_true", help="schedule type Automatic alone")
    parser.add_argument("--only", default="", help="samplers whose name holds this")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    asked = parser.parse_args()
    pair = Pair(WebUI(asked.url), asked.model, asked.size, asked.webui_size or asked.size)
    printed = table(pair, asked.only, asked.quick, lambda line: print(line, flush=True))
    if asked.write:
        page = PAGE.read_text()
        before, rest = page.split(BEGIN)
        PAGE.write_text(before + BEGIN + printed + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
