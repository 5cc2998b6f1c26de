"""`python -m training.emoji NODE_MODULES`: makes the sheets of sprites that world/book/sheets holds.

NODE_MODULES is where `npm i --ignore-scripts @iconify-json/noto @iconify-json/twemoji @iconify-json/fluent-emoji-flat
@iconify-json/fluent-emoji-high-contrast` has put the sets. Needs resvg-py. Training does not need this: the sheets are
in the repository.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from world.book.sprites import COLUMNS, INNER, SHEETS, SPRITE
from world.book.vocabulary import NOUNS, STYLES

SETS = dict(zip(STYLES, ("noto", "twemoji", "fluent-emoji-flat", "fluent-emoji-high-contrast"), strict=True))
# Where the sets call a thing otherwise; a face where the whole animal is hard to tell at this size.
ICONS = {
    **{animal: f"{animal}-face" for animal in ("cat", "dog", "monkey", "rabbit", "mouse")},
    **{"suitcase": "luggage", "bow": "ribbon", "car": "automobile", "bowl": "bowl-with-spoon", "clock": "alarm-clock"},
    **{"apple": "red-apple", "boat": "sailboat", "teddy bear": "teddy-bear", "hat": "top-hat", "shirt": "t-shirt"},
    **{"tree": "deciduous-tree", "burger": "hamburger", "snowman": "snowman-without-snow"},
}
# No set has a bench, so here is one: a back of two planks, a seat and two legs, in each style's colours.
BENCH = (
    '<g fill="{wood}" stroke="{edge}" stroke-width="{line}" stroke-linejoin="round">'
    '<rect x="8" y="38" width="12" height="72" fill="{leg}"/><rect x="108" y="38" width="12" height="72" fill="{leg}"/>'
    '<rect x="2" y="26" width="124" height="14" rx="3"/><rect x="2" y="46" width="124" height="14" rx="3"/>'
    '<rect x="0" y="72" width="128" height="17" rx="4"/></g>'
)
BENCH_PAINT = {
    "drawing": {"wood": "#c98b4f", "edge": "#7a4d24", "line": 2, "leg": "#5b5f66"},
    "sticker": {"wood": "#bf6952", "edge": "#bf6952", "line": 0, "leg": "#662113"},
    "flat icon": {"wood": "#a56953", "edge": "#8c5543", "line": 0, "leg": "#7d4533"},
    "line drawing": {"wood": "none", "edge": "#000000", "line": 7, "leg": "none"},
}


def sprite(svg_body: str, width: float, height: float) -> Image.Image:
    """One drawing as RGBA, INNER pixels wide, in the middle of SPRITE x SPRITE."""
    import resvg_py

    frame = f'viewBox="0 0 {width} {height}" width="{INNER}" height="{INNER}"'
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    drawn = resvg_py.svg_to_bytes(svg_string=f"<svg {names} {frame}>{svg_body}</svg>", width=INNER, height=INNER)
    whole = Image.new("RGBA", (SPRITE, SPRITE))
    whole.paste(Image.open(io.BytesIO(bytes(drawn))).convert("RGBA"), ((SPRITE - INNER) // 2,) * 2)
    return whole


def papered(ink: Image.Image) -> Image.Image:
    """Line art with white paper inside its outlines."""
    outside = ink.getchannel("A").point(lambda a: 255 if a > 100 else 0)
    ImageDraw.floodfill(outside, (0, 0), 128)
    paper = Image.new("RGBA", ink.size, (255, 255, 255, 255))
    paper.putalpha(outside.point(lambda a: 0 if a == 128 else 255))
    paper.alpha_composite(ink)
    return paper


def make_sheets(node_modules: Path) -> None:
    """Write one lossless WebP a style."""
    SHEETS.mkdir(exist_ok=True)
    for style, name in SETS.items():
        icons = json.loads((node_modules / "@iconify-json" / name / "icons.json").read_text(encoding="utf-8"))
        sheet = Image.new("RGBA", (COLUMNS * SPRITE, -(-len(NOUNS) // COLUMNS) * SPRITE))
        for number, noun in enumerate(NOUNS):
            if noun == "bench":
                drawn = sprite(BENCH.format(**BENCH_PAINT[style]), 128, 128)
            else:
                icon = icons["icons"][ICONS.get(noun, noun)]
                sides = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
                drawn = sprite(icon["body"], *sides)
            if style == "line drawing":
                drawn = papered(drawn)
            sheet.paste(drawn, (number % COLUMNS * SPRITE, number // COLUMNS * SPRITE))
        pixels = np.asarray(sheet).copy()
        pixels[pixels[..., 3] == 0] = 0
        Image.fromarray(pixels).save(SHEETS / f"{style.replace(' ', '-')}.webp", lossless=True, method=6, exact=True)


if __name__ == "__main__":
    make_sheets(Path(sys.argv[1]))
