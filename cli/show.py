"""`--show`: a picture in the terminal itself, where it can: kitty's protocol, iTerm's, and sixel.

The protocols: https://sw.kovidgoyal.net/kitty/graphics-protocol, https://iterm2.com/documentation-images.html, and the
VT340's manual.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .terminal import say

if TYPE_CHECKING:
    from PIL.Image import Image

_CHUNK = 4096  # characters of a kitty command's payload, at most
_KITTY = ("ghostty", "kitty")
_ITERM = ("iterm.app", "wezterm", "mintty", "vscode")
_SIXEL = ("foot", "mlterm", "contour", "yaft", "sixel")
_COLOURS = 256
_LONGEST = 512  # pixels of a side, in the terminal
NONE = "--show needs a terminal that draws pictures, such as kitty, Ghostty, iTerm2, WezTerm or foot: none was shown."


def protocol(environment: Mapping[str, str]) -> str | None:
    """How the terminal draws pictures by what it says of itself: "kitty", "iterm", "sixel" or None."""
    names = f"{environment.get('TERM', '')} {environment.get('TERM_PROGRAM', '')}".lower()
    if "KITTY_WINDOW_ID" in environment or any(name in names for name in _KITTY):
        return "kitty"
    if "ITERM_SESSION_ID" in environment or any(name in names for name in _ITERM):
        return "iterm"
    return "sixel" if any(name in names for name in _SIXEL) else None


def show(path: Path) -> None:
    """Draws a picture in the terminal, or says on stderr why not."""
    from PIL import Image

    how = protocol(os.environ) if sys.stdout.isatty() else None
    if how is None:
        say(f"Note: {NONE}", err=True)
        return
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    image.thumbnail((_LONGEST, _LONGEST))
    # Not through say(), which would write the sequences out: what goes here is made of numbers alone.
    typer.echo(drawn(image, how))


def drawn(image: Image, how: str) -> str:
    """The characters that draw an RGB picture by one of the protocols."""
    if how == "sixel":
        return _sixel(image)
    written = io.BytesIO()
    image.save(written, format="png")
    data = base64.b64encode(written.getvalue()).decode("ascii")
    if how == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(written.getvalue())}:{data}\x07"
    return "".join(_kitty(data))


def _kitty(data: str) -> Iterator[str]:
    for first in range(0, len(data), _CHUNK):
        what = "a=T,f=100," if first == 0 else ""
        more = int(first + _CHUNK < len(data))
        yield f"\x1b_G{what}m={more};{data[first : first + _CHUNK]}\x1b\\"


def _sixel(image: Image) -> str:
    """Bands of six rows, in each band one line for every colour that occurs in it; runs are counted."""
    import numpy
    from PIL.Image import Dither

    reduced = image.quantize(_COLOURS, dither=Dither.NONE)
    palette = numpy.asarray(reduced.getpalette(), dtype=int).reshape(-1, 3)
    pixels = numpy.asarray(reduced)
    parts = [f'\x1bPq"1;1;{image.width};{image.height}']
    parts += [
        f"#{number};2;" + ";".join(str(round(value * 100 / 255)) for value in palette[number])
        for number in numpy.unique(pixels)
    ]
    for top in range(0, image.height, 6):
        band = pixels[top : top + 6]
        weights = 1 << numpy.arange(len(band))
        lines = [
            f"#{colour}{_runs(((band == colour) * weights[:, None]).sum(0).tolist())}" for colour in numpy.unique(band)
        ]
        parts.append("$".join(lines) + "-")
    return "".join(parts) + "\x1b\\"


def _runs(sixels: list[int]) -> str:
    written, start = [], 0
    for place in range(1, len(sixels) + 1):
        if place == len(sixels) or sixels[place] != sixels[start]:
            written.append(f"!{place - start}{chr(63 + sixels[start])}")
            start = place
    return "".join(written)
