"""The gallery: `python -m website.gallery` draws its pictures with the embedded model and writes docs/gallery.md."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from lib_ebca.studio import Studio

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "gallery.md"
PICTURES = "images/gallery"
_STEPS, _GUIDANCE, _SEEDS = 25, 3, (1, 2, 3, 4)
_CELL, _COLOURS = 128, 96


@dataclass(frozen=True)
class Exhibit:
    """A prompt without and with something, for the same seeds: `directives` are what the second row has besides."""

    name: str
    title: str
    prompt: str
    directives: str
    says: str

    @property
    def file(self) -> str:
        """The picture's place below docs."""
        return f"{PICTURES}/{self.name}.png"

    @property
    def command(self) -> str:
        """What draws the second row."""
        asked = f"--seed {_SEEDS[0]} --count {len(_SEEDS)} --steps {_STEPS} --cfg {_GUIDANCE}"
        return f'ebca txt2img "{self.prompt} {self.directives}" {asked}'


_PAIR = "a cat and a red car"
EXHIBITS = (
    Exhibit("bcu", "The update", _PAIR, "<bcu:0.01:0.02>", "Outlines and faces settle or give way; the layout stays."),
    Exhibit("boost", "A boosted word", _PAIR, "<bcu:0.005:0.01> <boost:car:4>", "One word's step, four times as long."),
    Exhibit("swap", "Something else in its place", _PAIR, "<edit:a dog and a red car:3>", "An edit adds."),
    Exhibit(
        "away",
        "Something taken away",
        _PAIR,
        "<edit:a cat:2> <edit:a red car:-0.9>",
        "A negative strength takes away.",
    ),
    Exhibit("backdrop", "Another background", _PAIR, f"<edit:{_PAIR} at night:3>", "The things stay."),
    Exhibit(
        "late",
        "The same, late",
        _PAIR,
        f"<edit:{_PAIR} at night:3:from=0.6>",
        "A window of the pass: what is there by then stays where it is.",
    ),
    Exhibit(
        "subjects",
        "Subjects that have to be there",
        "a bird and a brown bench",
        "<excite:bird> <excite:bench>",
        "Attend-and-Excite moves the latent until each has its place.",
    ),
    Exhibit(
        "concept",
        "A concept on a word",
        "a horse with a hat",
        "<concept:hat:Worn=2>",
        "The heads that care for what is worn attend twice as much to the word.",
    ),
)


def page() -> str:
    """The gallery's page."""
    parts = [
        "# Gallery",
        "What each directive does to the embedded model's pictures: above without it, below with it, the same four "
        "seeds, none chosen. `python -m website.gallery` draws them all and writes this page; each can be drawn alone "
        "with its command.",
    ]
    for each in EXHIBITS:
        parts += [f"## {each.title}", each.says, f"![{each.title}]({each.file})", f"    {each.command}"]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Draws and writes everything."""
    from lib_ebca.studio import Studio

    studio = Studio.open()
    (DOCS / PICTURES).mkdir(parents=True, exist_ok=True)
    for each in EXHIBITS:
        (DOCS / each.file).write_bytes(_small(_drawn(studio, each)))
        print(each.file)
    PAGE.write_text(page(), encoding="utf-8")


def _drawn(studio: Studio, exhibit: Exhibit) -> Image.Image:
    from lib_ebca.studio.sheet import contact_sheet

    rows = []
    for label, prompt in (("plain", exhibit.prompt), ("with it", f"{exhibit.prompt} {exhibit.directives}")):
        recipes = [studio.recipe(prompt, seed=seed, steps=_STEPS, guidance=_GUIDANCE) for seed in _SEEDS]
        rows.append((label, [picture.image for picture in studio.draw(recipes)]))
    return contact_sheet(exhibit.prompt, [f"seed {seed}" for seed in _SEEDS], rows, cell=_CELL)


def _small(image: Image.Image) -> bytes:
    from PIL import Image

    written = io.BytesIO()
    image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(written, format="png", optimize=True)
    return written.getvalue()


if __name__ == "__main__":
    main()
