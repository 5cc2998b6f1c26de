"""`ebca demo`: a contact sheet of what the methods do, drawn with the embedded model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lib_ebca.studio import Picture, Studio, loading, pictures, plots, request, settings
from lib_ebca.studio.recipe import EMBEDDED_DEFAULT, Recipe, Settings
from lib_ebca.studio.sheet import contact_sheet

from . import progress
from .terminal import say

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Variant:
    """A column of the sheet: what is said in the prompt besides PROMPT."""

    label: str
    directives: str = ""

    @property
    def heading(self) -> str:
        """What stands over the column."""
        return f"{self.label}: {self.directives}" if self.directives else self.label


PROMPT = "a cat and a red car"
PLAIN = Variant("plain")
BCU = Variant("BCU", "<bcu:0.005:0.01>")
VARIANTS = (
    PLAIN,
    BCU,
    Variant("subjects", "<excite:cat> <excite:car>"),
    Variant("swap", "<edit:a dog and a red car:3>"),
    Variant("removal", "<edit:a cat:2> <edit:a red car:-0.9>"),
    Variant("backdrop", f"<edit:{PROMPT} at night:3>"),
)
# The embedded models' words are strong: at Stable Diffusion's usual guidance what they draw loses its shape.
EMBEDDED_GUIDANCE = 3.0
SEEDS = range(1, 5)
STEPS = 25


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the pictures.")] = Path("demo"),
    model: Annotated[
        str, typer.Option("--model", "-m", help="Another model than the embedded one.")
    ] = EMBEDDED_DEFAULT,
    steps: Annotated[int, typer.Option(help="Sampling steps of each picture.")] = STEPS,
) -> None:
    """Draw a prompt plainly, with BCU, with subjects and with three edits, for several seeds, and plot the energies."""
    asked = settings.checked(Settings(model=model, steps=steps))
    if model == EMBEDDED_DEFAULT:
        asked = replace(asked, guidance=EMBEDDED_GUIDANCE)
    folder = pictures.output_folder(out)
    studio = Studio(loading.load(asked))

    images: dict[tuple[str, int], Image] = {}
    recorded: dict[str, Picture] = {}
    with progress.bar("drawing") as advance:
        for done, (seed, variant) in enumerate((seed, variant) for seed in SEEDS for variant in VARIANTS):
            (wanted,) = request.wanted([f"{PROMPT} {variant.directives}".strip()])
            recipe = Recipe(asked, wanted.prompt, wanted.plan, seed)
            studio.check(recipe)
            energies = seed == SEEDS[0] and variant in (PLAIN, BCU)
            (picture,) = studio.draw([recipe], record_energies=energies)
            if energies:
                recorded[variant.label] = picture
            images[variant.label, seed] = picture.image
            pictures.save_numbered(picture.image, folder, seed, picture.parameters)
            advance(done + 1, len(SEEDS) * len(VARIANTS))

    rows = [(f"seed {seed}", [images[variant.label, seed] for variant in VARIANTS]) for seed in SEEDS]
    sheet = contact_sheet(f'"{PROMPT}"', [variant.heading for variant in VARIANTS], rows)
    runs = {"with BCU": recorded[BCU.label].run.energies, "without BCU": recorded[PLAIN.label].run.energies}
    plot = plots.energies(runs, 0, f'"{PROMPT}", seed {SEEDS[0]}')
    sheet_path = pictures.save_free(folder / "contact-sheet.png", pictures.png(sheet))
    plot_path = pictures.save_free(folder / "energy.png", plot)
    say(f"contact sheet  {sheet_path}")
    say(f"energy plot    {plot_path}")
    say(f"{len(images)} pictures    {folder}")
