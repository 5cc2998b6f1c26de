"""Contact sheets: where a method won and lost most against the plain model, the same noise side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from lib_ebca.studio.pictures import write_over

from .drawing import Drawing
from .methods import Method, plain
from .prompts import Item
from .scoring import Metric

TILE, GAP, LABEL, HEADING = 128, 6, 34, 22
COLUMNS = 4
FONT = 11


def largest(
    ours: Mapping[int, Mapping[str, float]],
    theirs: Mapping[int, Mapping[str, float]],
    metrics: Sequence[Metric],
    count: int,
) -> tuple[list[int], list[int]]:
    """Numbers of the items with the largest wins and with the largest losses, at most `count` of each.

    What counts is the first metric; the others, in their order, decide between equals.
    """

    def gain(number: int) -> tuple[float, ...]:
        return tuple(m.better * (ours[number][m.name] - theirs[number][m.name]) for m in metrics)

    shared = [number for number in ours if number in theirs]
    wins = sorted((n for n in shared if gain(n)[0] > 0), key=lambda n: (tuple(-g for g in gain(n)), n))
    losses = sorted((n for n in shared if gain(n)[0] < 0), key=lambda n: (gain(n), n))
    return wins[:count], losses[:count]


def draw_sheet(
    drawing: Drawing, method: Method, items: Sequence[Item], wins: Sequence[int], losses: Sequence[int], path: Path
) -> None:
    """Draw the chosen items again with and without the method, and write them as one PNG; nothing if there are none."""
    numbers = [*wins, *losses]
    if not numbers:
        return
    before: list[Image.Image] = []
    after: list[Image.Image] = []
    for start in range(0, len(numbers), drawing.sampling.batch):
        batch = [items[number] for number in numbers[start : start + drawing.sampling.batch]]
        before += _images(drawing.draw(batch, plain()).pictures)
        after += _images(drawing.draw(batch, method).pictures)
    captions = [items[number].prompt.text for number in numbers]
    pairs = list(zip(before, after, captions, strict=True))
    parts = [(f"Won by {method.name} (left: plain)", pairs[: len(wins)]), ("Lost (left: plain)", pairs[len(wins) :])]
    _save(_assembled([part for part in parts if part[1]]), path)


def _images(pictures: Tensor) -> list[Image.Image]:
    bytes_ = (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(array).resize((TILE, TILE), Image.Resampling.LANCZOS) for array in bytes_]


def _assembled(parts: Sequence[tuple[str, Sequence[tuple[Image.Image, Image.Image, str]]]]) -> Image.Image:
    cell, line = 2 * TILE + 2 * GAP, TILE + LABEL
    rows = [-(-len(pairs) // COLUMNS) for _, pairs in parts]
    height = sum(HEADING + count * line for count in rows)
    sheet = Image.new("RGB", (COLUMNS * cell + GAP, height + GAP), "white")
    canvas, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    top = GAP
    for (heading, pairs), count in zip(parts, rows, strict=True):
        canvas.text((GAP, top), heading, fill="black", font=ImageFont.load_default(FONT + 3))
        for index, (before, after, caption) in enumerate(pairs):
            left, upper = GAP + index % COLUMNS * cell, top + HEADING + index // COLUMNS * line
            sheet.paste(before, (left, upper))
            sheet.paste(after, (left + TILE + 1, upper))
            canvas.text((left, upper + TILE + 2), _fitted(caption, 2 * TILE, font), fill="black", font=font)
        top += HEADING + count * line
    return sheet


def _fitted(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _save(sheet: Image.Image, path: Path) -> None:
    data = io.BytesIO()
    sheet.save(data, format="PNG", optimize=True)
    write_over(path, data.getvalue())
