"""Labelled grids of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

_GAP = 8
_PAPER, _INK = "white", "black"


def contact_sheet(
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Image]]],
    *,
    cell: int = 256,
    text_size: int = 16,
) -> Image:
    """A grid with the title above it, a label over each column and one before each row.

    Each picture is enlarged or reduced to `cell` pixels on its longer side; labels are wrapped to the column's width.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(text_size)
    headings = [_wrapped(label, font, cell) for label in columns]
    title = _wrapped(title, font, len(columns) * (cell + _GAP))
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    margin = max((ruler.textbbox((0, 0), label, font=font)[2] for label, _ in rows), default=0)
    left = int(margin) + (2 * _GAP if margin else _GAP)
    title_height = int(ruler.multiline_textbbox((0, 0), title, font=font)[3]) + 2 * _GAP
    heading_height = max(int(ruler.multiline_textbbox((0, 0), each, font=font)[3]) for each in headings) + _GAP
    top = title_height + heading_height

    sheet = Image.new("RGB", (left + len(columns) * (cell + _GAP), top + len(rows) * (cell + _GAP)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.multiline_text((_GAP, _GAP), title, fill=_INK, font=font)
    for column, heading in enumerate(headings):
        pen.multiline_text((left + column * (cell + _GAP), title_height), heading, fill=_INK, font=font)
    for row, (label, pictures) in enumerate(rows):
        y = top + row * (cell + _GAP)
        pen.text((_GAP, y + cell // 2), label, fill=_INK, font=font, anchor="lm")
        for column, picture in enumerate(pictures):
            sheet.paste(_fitted(picture, cell), (left + column * (cell + _GAP), y))
    return sheet


def captioned(title: str, pictures: Sequence[tuple[str, Image]], *, cell: int, per_row: int = 6) -> Image:
    """Pictures with a caption over each, as many rows as it takes."""
    from PIL import Image

    strips = []
    for first in range(0, len(pictures), per_row):
        captions, row = zip(*pictures[first : first + per_row], strict=True)
        strips.append(contact_sheet("" if first else title, captions, [("", row)], cell=cell))
    sheet = Image.new("RGB", (max(strip.width for strip in strips), sum(strip.height for strip in strips)), _PAPER)
    y = 0
    for strip in strips:
        sheet.paste(strip, (0, y))
        y += strip.height
    return sheet


def _fitted(picture: Image, cell: int) -> Image:
    from PIL import Image

    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _wrapped(text: str, font: Any, width: int) -> str:
    """`text` broken at spaces so that its lines fit, for a fixed font; a word that is too long stays whole."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)
