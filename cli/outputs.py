"""What a drawn batch leaves: pictures, heat maps, energy plots, and a line about each picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib_ebca.studio import pictures, plots
from lib_ebca.studio.recipe import Recipe, Source, to_text
from lib_ebca.studio.sheet import captioned
from lib_ebca.studio.subjects import maps_over_steps, scores

from . import show as terminal_pictures
from .terminal import say, say_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib_ebca.language.words import TokenisedPrompt
    from lib_ebca.studio.generate import Drawn

_NOT_IN_A_NAME = re.compile(r"[^\w.-]+")
_LONGEST_WORD = 40  # characters, in a file name


@dataclass(frozen=True)
class Saved:
    """A picture on disk and what belongs to it."""

    recipe: Recipe
    path: Path
    seconds: float
    comments: tuple[str, ...]
    maps: tuple[Path, ...] = ()
    energy: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """The line of `--json`."""
        return {
            "path": str(self.path),
            "seed": self.recipe.seed,
            "prompt": self.recipe.prompt,
            "negative": self.recipe.settings.negative,
            "plan": self.recipe.plan.to_dict(),
            "seconds": round(self.seconds, 3),
            "comments": list(self.comments),
            "maps": [str(path) for path in self.maps],
            "energy": None if self.energy is None else str(self.energy),
        }

    def tell(self, as_json: bool, quiet: bool, show: bool = False) -> None:
        """One JSON line on stdout, or the paths there and the comments on stderr, or the comments alone.

        With `show` also the picture, where the terminal draws pictures and no JSON is asked for.
        """
        if as_json:
            say_json(self.to_dict())
            return
        for comment in self.comments:
            say(f"Note: {comment}", err=True)
        if not quiet:
            for path in (self.path, *self.maps[-1:], *filter(None, [self.energy])):
                say(str(path))
        if show:
            terminal_pictures.show(self.path)


def dated(folder: Path, by_date: bool) -> Path:
    """`folder`, or the day's own below it, such as 2026-01-31."""
    return folder / date.today().isoformat() if by_date else folder


def save_picture(drawn: Drawn, recipe: Recipe, source: Source, folder: Path) -> Path:
    """Writes the picture at the recipe's place in its batch. Raises UserError."""
    return pictures.save_numbered(drawn.images[recipe.position], folder, recipe.seed, to_text(recipe, source))


def save_maps(drawn: Drawn, recipe: Recipe, path: Path, tokenizer: Any) -> tuple[Path, ...]:
    """Writes a heat picture for each word beside the picture, and last an overview of all. Raises UserError."""
    from lib_ebca.language.words import words

    place = recipe.position
    picture, tokenised = drawn.images[place], drawn.run.tokenised[place]
    spelled = words(tokenised, tokenizer)
    heats: list[Image] = []
    paths: list[Path] = [*_save_subject_maps(drawn, recipe, path)]
    for number, word in enumerate(spelled):
        heats.append(plots.heat(picture, drawn.run.maps.map(place, _rows(tokenised, number))))
        name = _NOT_IN_A_NAME.sub("_", word)[:_LONGEST_WORD]
        paths.append(pictures.beside(path, f"map-{number + 1:02d}-{name}"))
        pictures.write_new(paths[-1], pictures.png(heats[-1]))
    paths.append(pictures.beside(path, "maps"))
    sheet = captioned(recipe.prompt, [("picture", picture), *zip(spelled, heats, strict=True)], cell=192)
    pictures.write_new(paths[-1], pictures.png(sheet))
    return tuple(paths)


def save_scores(drawn: Drawn, recipe: Recipe, path: Path) -> Path | None:
    """Writes the subjects' scores over the steps as a plot beside the picture, if there are any. Raises UserError."""
    records = [record for record in drawn.run.excited if record.picture == recipe.position]
    if not records:
        return None
    plot = pictures.beside(path, "subjects")
    pictures.write_new(plot, scores(records, f"{recipe.prompt}  (seed {recipe.seed})"))
    return plot


def _save_subject_maps(drawn: Drawn, recipe: Recipe, path: Path) -> tuple[Path, ...]:
    """Writes where each subject stood at each altered step, if there are any."""
    records = [record for record in drawn.run.excited if record.picture == recipe.position]
    if not records:
        return ()
    written = pictures.beside(path, "subject-maps")
    pictures.write_new(written, pictures.png(maps_over_steps(records, recipe.prompt)))
    return (written,)


def save_energies(runs: dict[str, Drawn], recipe: Recipe, path: Path) -> Path:
    """Writes the energies of the passes, by their label, as one plot beside the picture. Raises UserError."""
    plot = pictures.beside(path, "energy")
    records = {label: drawn.run.energies for label, drawn in runs.items()}
    pictures.write_new(plot, plots.energies(records, recipe.position, f"{recipe.prompt}  (seed {recipe.seed})"))
    return plot


def _rows(tokenised: TokenisedPrompt, word: int) -> list[int]:
    return [row for row, token in enumerate(tokenised.tokens) if token.word == word]
