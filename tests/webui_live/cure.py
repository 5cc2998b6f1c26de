"""A cure, drawn in a running WebUI: ``python -m tests.webui_live.cure URL`` makes the first picture of docs/webui.md.

The prompt is the first of three objects of ``ebca bench alignment``. Seeds are tried from 0 on; shown is the first one
whose plain picture lacks a shape that is asked for, as the judge of the world sees it, while the picture with subjects
has all three. Printed is what became of every seed. The WebUI has the embedded model as ``python -m training.compvis``
writes it, called shapes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.alignment.prompts import THREE, Prompt, shapes_prompts
from tests.webui_live.client import WebUI
from world.shapes.judge import Verdict, judge
from world.shapes.sightings import read

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "webui-cure.png"
SIDE, SHOWN, BATCH = 64, 256, 4


@dataclass(frozen=True)
class Drawn:
    """One seed's picture, and the judge's word on it."""

    pixels: bytes
    verdict: Verdict

    @property
    def cured(self) -> bool:
        """Whether every shape is there."""
        return self.verdict.shapes


def drawn(webui: WebUI, prompt: Prompt, directives: str, seeds: Sequence[int]) -> list[Drawn]:
    """The WebUI's pictures of a prompt. It takes every VAE for one that shrinks by 8; this one's shrinks by 4."""
    made = webui.make(
        prompt=f"{prompt.text}{directives}",
        seed=seeds[0],
        batch_size=len(seeds),
        steps=20,
        cfg_scale=3,
        sampler_name="DDIM",
        width=2 * SIDE,
        height=2 * SIDE,
        override_settings={"return_grid": False},
    )
    arrays = np.stack([np.frombuffer(each, np.uint8).reshape(SIDE, SIDE, 3) for each in made.pictures])
    readings = read(torch.from_numpy(arrays).permute(0, 3, 1, 2) / 255)
    verdicts = [judge(reading, prompt.shapes) for reading in readings]
    return [Drawn(pixels, verdict) for pixels, verdict in zip(made.pictures, verdicts, strict=True)]


def tried(webui: WebUI, prompt: Prompt, ways: Sequence[str], seeds: int) -> Iterator[tuple[int, list[Drawn]]]:
    """Each seed's pictures, way by way."""
    for first in range(0, seeds, BATCH):
        batch = range(first, min(first + BATCH, seeds))
        yield from zip(
            batch, map(list, zip(*(drawn(webui, prompt, way, batch) for way in ways), strict=True)), strict=True
        )


def shown(prompt: Prompt, captions: Sequence[str], pictures: Sequence[Drawn]) -> Image.Image:
    """The pictures side by side, each below its caption."""
    sheet = Image.new("RGB", (SHOWN * len(pictures) + 8 * (len(pictures) - 1), SHOWN + 36), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((0, 2), prompt.text, fill="black", font_size=12)
    for place, (caption, picture) in enumerate(zip(captions, pictures, strict=True)):
        left = place * (SHOWN + 8)
        pen.text((left, 18), caption.strip() or "plain", fill="black", font_size=12)
        pixels = Image.frombytes("RGB", (SIDE, SIDE), picture.pixels)
        sheet.paste(pixels.resize((SHOWN, SHOWN), Image.Resampling.LANCZOS), (left, 36))
    return sheet


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.webui_live.cure", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--seeds", type=int, default=16)
    asked = parser.parse_args()
    webui, prompt = WebUI(asked.url), shapes_prompts(THREE)[0]
    subjects = "".join(f" <excite:{noun}>" for noun in prompt.nouns)
    ways = ("", " <bcu:0.01:0.02>", subjects)
    with webui.model("shapes"):
        seeds = list(tried(webui, prompt, ways, asked.seeds))
    print(f"{prompt.text}; of {asked.seeds} seeds every shape is there, and every object as asked:")
    for place, way in enumerate(ways):
        verdicts = [pictures[place].verdict for _, pictures in seeds]
        print(f"{way.strip() or 'plain'}: {sum(v.shapes for v in verdicts)}, {sum(v.binding for v in verdicts)}")
    for seed, (plain, _, cured) in seeds:
        if cured.cured and not plain.cured:
            shown(prompt, (ways[0], ways[2]), (plain, cured)).save(PICTURE)
            print(f"seed {seed}: {PICTURE}")
            return
    print("no seed shows a cure")


if __name__ == "__main__":
    main()
