"""A cube of pictures as contact sheets: a PNG for each page, and one HTML page that holds everything."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lib_ebca.studio import infotext, pictures
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.sheet import contact_sheet

from .grid import Cube
from .items import Item
from .manifest import Line
from .names import safe
from .store import Store

if TYPE_CHECKING:
    from PIL.Image import Image

_TEMPLATE = Path(__file__).with_name("contact.html")
_CELL, _LONGEST_SIDE = 256, 16384  # pixels
_MARK = "EBCA contact sheet"  # in every sheet and page of ours, as it is
_MISSING = (8, "lightgrey")  # side and colour of what stands for a picture that is not there


def sheets(cube: Cube, store: Store, made: dict[str, Line]) -> Iterator[tuple[str, bytes]]:
    """Name and content of a PNG for each page."""
    size = max(len(cube.across.values), len(cube.down.values))
    cell = min(_CELL, _LONGEST_SIDE // size)
    columns = [cube.across.label(x) for x in cube.across.values]
    for page in cube.pages:
        turned = [axis.label(value) for axis, value in zip(cube.axes[2:], page, strict=True)]
        rows = [
            (
                cube.down.label(y) if y else "",
                [_image(cube.at(x, y, page), store, made) for x in cube.across.values],
            )
            for y in cube.down.values
        ]
        sheet = contact_sheet("   ".join([cube.title, *turned]), columns, rows, cell=max(cell, 1))
        yield _sheet_name(cube, page), pictures.png(sheet, made_by=_MARK)


def page(cube: Cube, store: Store, made: dict[str, Line]) -> tuple[str, bytes]:
    """Name and content of the HTML page: every picture and its parameters, and a slider for each axis."""
    cells = []
    for place, item in cube.items.items():
        at = [axis.values.index(value) for axis, value in zip(cube.axes, place, strict=True)]
        data = _data(item, store, made)
        source = None if data is None else "data:image/png;base64," + base64.b64encode(data).decode()
        cells.append({"at": at, "source": source, "text": "not made" if data is None else _parameters(item, data)})
    facts = {"axes": [{"name": axis.name, "values": axis.values} for axis in cube.axes], "cells": cells}
    # "</script>" in a prompt would end the script that it stands in.
    written = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    filled = {"TITLE": html.escape(cube.title), "SLIDERS": _sliders(cube), "FACTS": written}
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in filled.items():
        text = text.replace(f"<!--{name}-->", value)
    return _page_name(cube), text.encode()


def refuse_others(cubes: Iterable[Cube], store: Store) -> None:
    """Raises UserError where a sheet or a page would take the place of a file that is none of ours."""
    for cube in cubes:
        for name in (*(_sheet_name(cube, page) for page in cube.pages), _page_name(cube)):
            there = store.read(name)
            if there is not None and _MARK.encode() not in there:
                raise UserError(f"{store.url} holds a file {name} that is no sheet of ours: move it away")


def _sheet_name(cube: Cube, page: tuple[str, ...]) -> str:
    return "-".join(safe(part) for part in ("grid", cube.job, *page)) + ".png"


def _page_name(cube: Cube) -> str:
    return f"{safe(f'grid-{cube.job}')}.html"


def _sliders(cube: Cube) -> str:
    return "\n".join(
        f'<label>{html.escape(axis.name)} <input type="range" min="0" max="{len(axis.values) - 1}" value="0"'
        f' data-axis="{number}"> <output></output></label>'
        for number, axis in enumerate(cube.axes)
    )


def _data(item: Item | None, store: Store, made: dict[str, Line]) -> bytes | None:
    line = None if item is None else made.get(item.key)
    return None if line is None else store.read(line["path"])


def _image(item: Item | None, store: Store, made: dict[str, Line]) -> Image:
    from PIL import Image

    data = _data(item, store, made)
    if item is None or data is None:
        side, colour = _MISSING
        return Image.new("RGB", (side, side), colour)
    return pictures.open_picture(Path(item.name), data).convert("RGB")


def _parameters(item: Item, data: bytes) -> str:
    return infotext.from_picture(pictures.open_picture(Path(item.name), data)) or ""
