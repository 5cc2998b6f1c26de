"""From prompts, options and a recorded picture to the batches of recipes that are to be drawn."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib_ebca.reading import text_in
from lib_ebca.studio import foreign, infotext, recipe
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.named import find
from lib_ebca.studio.pictures import open_picture
from lib_ebca.studio.recipe import MOST_TOGETHER, Recipe, Settings, Source
from lib_ebca.studio.settings import at_least
from lib_ebca.studio.trust import refuse_unasked
from lib_ebca.studio.values import readable

if TYPE_CHECKING:
    from PIL.Image import Image

    from lib_ebca.language.plan import Plan

_RANDOM_SEEDS = 2**32  # as many as the WebUI draws from
_LAST_SEED = 2**63 - 1
_LARGEST = 10_000_000  # bytes of a file of prompts


@dataclass(frozen=True)
class Wanted:
    """A prompt as it was written and the plan that it and the options make."""

    prompt: str
    plan: Plan


@dataclass(frozen=True)
class Batch:
    """Recipes that are drawn together. `kept` are the places of those that are wanted."""

    recipes: tuple[Recipe, ...]
    kept: tuple[int, ...]


def recorded_in(
    path: Path,
    model: str | None,
    loras: object,
    trusted: bool,
    vectors: object = None,
    folders: Sequence[Path] = (),
) -> tuple[Recipe, Source]:
    """The recipe that a picture carries, and what it was made with.

    `model`, `loras` and `vectors` are given in the place of the recorded ones; `trusted` lets the picture name others.
    In `folders` models are looked for that another program names.
    Raises UserError where the file is no picture or carries none, where only `model` could say which model to load, and
    where the user has to say it.
    """
    picture = open_picture(path)
    recorded, source = recipe.from_text(_parameters(picture, path))
    if not recorded.settings.model:
        model = model or find(source.model, source.model_hash, folders)
        asked = dataclasses.replace(_as_large(recorded.settings, picture.size), model=model)
        recorded = dataclasses.replace(recorded, settings=asked)
    if not trusted:
        refuse_unasked(path, recorded.settings, model, loras, vectors)
    return recorded, source


def parameters_in(path: Path) -> str:
    """The "parameters" text of a picture. Raises UserError where the file is no picture, or has none."""
    return _parameters(open_picture(path), path)


def _parameters(picture: Image, path: Path) -> str:
    text = infotext.from_picture(picture)
    if text is None:
        raise UserError(f"the picture {path} carries no generation parameters")
    return text


def _as_large(recorded: Settings, size: tuple[int, int]) -> Settings:
    """The recorded settings for a picture of `size`.

    The WebUI takes every VAE for one that shrinks by 8: of one that shrinks by less it tells a larger size.
    """
    width, height = size
    smaller = width < (recorded.width or 0) and height < (recorded.height or 0)
    return dataclasses.replace(recorded, width=width, height=height) if smaller else recorded


def wanted(prompts: Sequence[str], options: Plan | None = None, recorded: Recipe | None = None) -> tuple[Wanted, ...]:
    """What is to be drawn: the prompts given, or else the recorded one, with the options on top of each.

    Raises DirectiveError, PlanError, and UserError where there is neither a prompt nor a recorded picture.
    """
    from lib_ebca.language.directives import parse
    from lib_ebca.language.plan import Plan

    options = options or Plan()
    if prompts:
        return tuple(Wanted(prompt, parse(checked(prompt)).plan.merged(options)) for prompt in prompts)
    if recorded is not None:
        return (Wanted(recorded.prompt, recorded.plan.merged(options)),)
    raise UserError("there is nothing to draw: give at least one PROMPT, or --from PICTURE")


def prompts_in(file: Path) -> tuple[str, ...]:
    """The prompts of a text file, one a line; empty lines and those that begin with # are passed over.

    Raises UserError where it cannot be read, or holds none.
    """
    try:
        lines = text_in(file, _LARGEST).splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UserError(f"cannot read --prompts {file}: {reason}") from None
    prompts = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not prompts:
        raise UserError(f"--prompts {file} holds no prompt: it should have one a line")
    return prompts


def checked(prompt: str) -> str:
    """The prompt, or UserError where it is no text that can be drawn, or the name of a file."""
    readable("the prompt", prompt)
    if prompt.startswith("@") and os.path.isfile(prompt[1:]):  # noqa: PTH113 (takes any text, also one that is no path)
        raise UserError(f"the prompt {prompt!r} names a file: its lines are drawn with --prompts {prompt[1:]}")
    return prompt


def batches(wanted: Wanted, settings: Settings, seeds: Sequence[int], batch_size: int) -> list[Batch]:
    """A picture of the prompt for each of the seeds, at most `batch_size` drawn together."""
    cut = [seeds[first : first + batch_size] for first in range(0, len(seeds), batch_size)]
    return [
        Batch(
            tuple(
                Recipe(settings, wanted.prompt, wanted.plan, seed, len(together), place)
                for place, seed in enumerate(together)
            ),
            tuple(range(len(together))),
        )
        for together in cut
    ]


def repeated(recorded: Recipe) -> Batch:
    """The batch in which the recorded picture comes out bit for bit: its own place in a batch of the same size.

    The other places are filled with the same picture: they cost what the neighbours cost then, and are thrown away.
    """
    copies = tuple(dataclasses.replace(recorded, position=place) for place in range(recorded.batch))
    return Batch(copies, (recorded.position,))


def without_update(batch: Batch) -> Batch:
    """The same batch with BCU off, and with it the boosts, which only scale it; edits stay."""
    recipes = (
        dataclasses.replace(each, plan=dataclasses.replace(each.plan, update=None, boosts=())) for each in batch.recipes
    )
    return Batch(tuple(recipes), batch.kept)


def seeds(seed: int | None, count: int | None, batch_size: int | None, recorded: Recipe | None) -> range:
    """The seeds of a prompt's pictures, one after the other: from `seed`, or else the recorded one, or else at random.

    -1 is random too, as in the WebUI. Raises UserError.
    """
    number = at_least("--count", 1 if count is None else count, 1)
    if at_least("--batch-size", 1 if batch_size is None else batch_size, 1) > MOST_TOGETHER:
        raise UserError(f"--batch-size is {batch_size}: it should be at most {MOST_TOGETHER}")
    if seed is None and recorded is not None:
        seed = recorded.seed
    if seed is None or seed == -1:
        seed = secrets.randbelow(_RANDOM_SEEDS)
    if not 0 <= seed <= _LAST_SEED - number:
        raise UserError(
            f"--seed is {seed}: it should be a whole number from 0 to {_LAST_SEED - number}, or -1 for chance"
        )
    return range(seed, seed + number)


def differences(made_with: Source, loaded: Source) -> tuple[str, ...]:
    """Sentences on what will keep a picture from coming out the same."""
    pairs = [("model", made_with.model, made_with.model_hash, loaded.model, loaded.model_hash)]
    loras = zip(made_with.lora_hashes, loaded.lora_hashes, strict=False)
    pairs += [(f"LoRA {number}", "", then, "", now) for number, (then, now) in enumerate(loras, start=1)]
    differing = (
        f"The picture was made with the {what} {name} ({then}), and this is {other} ({now}): it will differ.".replace(
            "  ", " "
        )
        for what, name, then, other, now in pairs
        if then and then != now and then not in loaded.other_hashes
    )
    assumed = "Its text names no RNG: the noise was taken for a GPU's. If it was a CPU's or a Mac's, add --noise cpu."
    return (*differing, *((assumed,) if made_with.noise_assumed else ()), *foreign.told(made_with.unread))


def check_words(wanted: Wanted, tokenizer: object) -> None:
    """Raises WordError for a boost, a concept or a subject whose word the prompt does not hold."""
    from lib_ebca.language.directives import parse
    from lib_ebca.language.subject_words import subject_words
    from lib_ebca.language.words import rows, tokenise

    tokenised = tokenise(tokenizer, parse(wanted.prompt).text)
    named = [(boost.word, boost.occurrence) for boost in wanted.plan.boosts]
    named += [(concept.word, concept.occurrence) for concept in wanted.plan.concepts]
    for word, occurrence in named:
        rows(tokenised, word, occurrence, tokenizer)
    subject_words(tokenised, wanted.plan.excite, tokenizer)
