"""The same pictures from a running WebUI and from the command line's way of drawing, and how far apart they are.

``python -m tests.webui_live.twins URL`` prints the table of docs/hosts.md; ``--write`` puts it there. The WebUI has the
checkpoint loaded that ``--model`` names for the command line: its own file, unless told, if it lies on this machine.
"""

from __future__ import annotations

import argparse
import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.hires import UPSCALERS, Hires
from lib_ebca.studio.photographs import Photo, digest_of
from lib_ebca.studio.recipe import Recipe
from lib_ebca.studio.samplers import AUTOMATIC, WEBUI_NAMES, WEBUI_SCHEDULES
from lib_ebca.studio.studio import Studio
from tests.webui_live.client import WebUI

PAGE = Path(__file__).parents[2] / "docs" / "hosts.md"
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
    schedule: str = AUTOMATIC
    seed: int = 42
    guidance: float = 3.0
    negative: str = ""
    clip_skip: int = 1
    count: int = 1
    noise: str = "cpu"
    hires: Hires | None = None


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

    def __init__(self, webui: WebUI, model: str | None, size: int, theirs: int, steps: int) -> None:
        title = webui.get("/sdapi/v1/options")["sd_model_checkpoint"]
        found = {each["title"]: each["filename"] for each in webui.get("/sdapi/v1/sd-models")}
        self.webui, self.size, self.theirs, self.steps = webui, size, theirs, steps
        self.studio = Studio.open(model or found[title], device="cpu", dtype="float32")

    def apart(self, twin: Twin) -> Apart:
        """How far a text-to-image job is apart."""
        return Apart.of(self.asked(twin), self.drawn(twin))

    def asked(self, twin: Twin, **more: Any) -> tuple[bytes, ...]:
        """The WebUI's pictures."""
        if (hires := twin.hires) is not None:
            more |= {"enable_hr": True, "hr_scale": hires.scale, "hr_upscaler": hires.upscaler}
            more |= {"hr_second_pass_steps": hires.steps, "denoising_strength": hires.strength}
        # Set, not overridden: the WebUI takes an override back only where its file has the setting.
        with self.webui.settings(randn_source=twin.noise.upper()):
            return self._made(twin, more)

    def _made(self, twin: Twin, more: dict[str, Any]) -> tuple[bytes, ...]:
        made = self.webui.make(
            prompt=twin.prompt,
            negative_prompt=twin.negative,
            sampler_name=twin.sampler,
            scheduler=twin.schedule,
            seed=twin.seed,
            steps=self.steps,
            cfg_scale=twin.guidance,
            width=self.theirs,
            height=self.theirs,
            batch_size=twin.count,
            override_settings={"CLIP_stop_at_last_layers": twin.clip_skip},
            **more,
        )
        # With several pictures a grid of them stands first.
        return made.pictures[-twin.count :]

    def from_picture(self, twin: Twin, photo: Photo, mask: Image.Image | None, strength: float) -> tuple[Apart, Apart]:
        """How far an image-to-image or inpainting job is apart, and the WebUI from itself when it is asked twice."""
        more: dict[str, Any] = {"init_images": [_sent(photo.image)], "denoising_strength": strength}
        if mask is None:
            made = self.studio.vary(self.recipes(twin), photo, strength=strength)
        else:
            made = self.studio.inpaint(self.recipes(twin), photo, mask, strength=strength)
            more |= {"mask": _sent(mask), "mask_blur": 0, "inpainting_fill": 1, "inpaint_full_res": False}
        once, again = (self.asked(twin, kind="img2img", **more) for _ in range(2))
        return Apart.of(once, [picture.image.tobytes() for picture in made]), Apart.of(once, again)

    def recipes(self, twin: Twin) -> list[Recipe]:
        """What the studio is asked."""
        first = self.studio.recipe(
            twin.prompt,
            seed=twin.seed,
            sampling="webui",
            sampler=twin.sampler,
            schedule=twin.schedule,
            steps=self.steps,
            guidance=twin.guidance,
            negative=twin.negative,
            clip_skip=twin.clip_skip,
            noise=twin.noise,
            hires=twin.hires,
            width=self.size,
            height=self.size,
        )
        return [replace(first, seed=twin.seed + place) for place in range(twin.count)]

    def drawn(self, twin: Twin) -> tuple[bytes, ...]:
        """The studio's pictures."""
        return tuple(picture.image.tobytes() for picture in self.studio.draw(self.recipes(twin)))


def _sent(image: Image.Image) -> str:
    written = io.BytesIO()
    image.save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def samplers(served: Sequence[str], schedules: Sequence[str]) -> Iterator[Twin]:
    """Every sampler and schedule type that both know."""
    for sampler in served:
        for schedule in (AUTOMATIC,) if sampler in TIMESTEPS else schedules:
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
        *(Twin(f"noise `NV`, {name}", sampler=name, noise="nv") for name in ("Euler", "Euler a", "DPM++ SDE", "DDIM")),
        Twin("noise `NV`, batch of 2, Euler a", sampler="Euler a", noise="nv", count=2),
    )


def enlarged() -> Iterator[Twin]:
    """Hires fix with every upscaler that keeps to the latent, and with every other sampler."""
    for name in UPSCALERS:
        yield Twin(f"{name}, Euler", hires=Hires(1.5, name))
    for sampler in ("Euler a", "Heun", "DPM2", "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", *TIMESTEPS):
        yield Twin(f"Latent, {sampler}", sampler=sampler, hires=Hires(2.0))
    yield Twin("Latent, Euler, 4 steps, strength 0.4", hires=Hires(2.0, steps=4, strength=0.4))
    yield Twin("Latent, Euler a, batch of 2", sampler="Euler a", hires=Hires(1.5), count=2)
    yield Twin("Latent, DPM++ SDE, noise `NV`", sampler="DPM++ SDE", hires=Hires(1.5), noise="nv")
    yield Twin("Latent, subjects", f"{PROMPT} <excite:circle> <excite:square>", hires=Hires(1.5))


def of_samplers(pair: Pair, only: str) -> Iterator[str]:
    """A line for every sampler and schedule type that both know."""
    known = {each["name"] for each in pair.webui.get("/sdapi/v1/samplers")}
    schedules = [each["label"] for each in pair.webui.get("/sdapi/v1/schedulers")]
    served = [name for name in WEBUI_NAMES if name in known and only in name]
    yield "| sampler, schedule type | plain | under a plan |"
    yield "| --- | --- | --- |"
    for twin in samplers(served, [name for name in WEBUI_SCHEDULES if name in schedules]):
        name = twin.sampler if twin.sampler in TIMESTEPS else f"{twin.sampler}, {twin.schedule}"
        try:
            under = pair.apart(replace(twin, prompt=PROMPT + PLAN)) if twin.schedule == AUTOMATIC else "-"
            yield f"| {name} | {pair.apart(twin)} | {under} |"
        except UserError as error:
            yield f"| {name} | refused: {error} | |"


def of_features(pair: Pair, only: str) -> Iterator[str]:
    """A line for what else parts the two."""
    return _lines(pair, "Euler, Automatic unless said otherwise", features(), only)


def of_hires(pair: Pair, only: str) -> Iterator[str]:
    """A line for each way of hires fix."""
    return _lines(pair, "hires fix", enlarged(), only)


def of_lcm(pair: Pair, only: str) -> Iterator[str]:
    """A line for each schedule type of the sampler that wants a model which predicts noise."""
    schedules = [each["label"] for each in pair.webui.get("/sdapi/v1/schedulers")]
    served = (Twin(name, sampler="LCM", schedule=name) for name in WEBUI_SCHEDULES if name in schedules)
    return _lines(pair, "LCM, schedule type", served, only)


def _lines(pair: Pair, heading: str, twins: Iterable[Twin], only: str) -> Iterator[str]:
    yield f"| {heading} | plain | under a plan |"
    yield "| --- | --- | --- |"
    for twin in twins:
        if only in twin.name:
            yield f"| {twin.name} | {pair.apart(twin)} | {pair.apart(replace(twin, prompt=twin.prompt + PLAN))} |"


def of_pictures(pair: Pair, only: str) -> Iterator[str]:
    """A line for image-to-image and inpainting with each sampler."""
    yield "| from a picture | plain | under a plan | the WebUI, asked twice |"
    yield "| --- | --- | --- | --- |"
    (drawn,) = pair.studio.draw(pair.recipes(Twin("a picture")))
    photo = Photo(drawn.image, None, digest_of(drawn.image))
    mask = Image.new("L", photo.image.size)
    mask.paste(255, (0, 0, pair.size // 2, pair.size))
    for sampler in ("Euler", "Euler a", "Heun", "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DDIM", "PLMS", "UniPC"):
        for kind, painted in (("img2img", None), ("inpainting", mask)):
            twin = Twin(f"{kind}, {sampler}", sampler=sampler)
            if only in twin.name:
                plain, itself = pair.from_picture(twin, photo, painted, 0.6)
                under, _ = pair.from_picture(replace(twin, prompt=PROMPT + PLAN), photo, painted, 0.6)
                yield f"| {twin.name} | {plain} | {under} | {itself} |"


PARTS = {
    "samplers": of_samplers,
    "features": of_features,
    "pictures": of_pictures,
    "hires": of_hires,
    "lcm": of_lcm,
}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.webui_live.twins", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", help="of the command line")
    parser.add_argument("--size", type=int, default=64, help="of the command line's pictures")
    parser.add_argument("--webui-size", type=int, help="what the WebUI is asked for, if it takes the model for another")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=[*PARTS][:4], metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--only", default="", help="lines whose name holds this")
    parser.add_argument("--write", action="store_true", help=f"write the parts' tables into {PAGE.name}")
    asked = parser.parse_args()
    pair = Pair(WebUI(asked.url), asked.model, asked.size, asked.webui_size or asked.size, asked.steps)
    for part in asked.parts:
        lines = []
        for line in PARTS[part](pair, asked.only):
            print(line, flush=True)
            lines.append(line)
        if asked.write:
            begin, end = f"<!-- twins: {part} -->\n", f"<!-- /twins: {part} -->\n"
            before, rest = PAGE.read_text(encoding="utf-8").split(begin)
            PAGE.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
