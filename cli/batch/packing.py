"""Which pictures can be drawn together without changing any of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from .items import Item
from .schema import EditPhoto, P2p, Txt2img

Pack = tuple[Item, ...]


def model_of(item: Item) -> Hashable:
    """What is loaded for the picture."""
    return item.settings.model, item.settings.loras, item.settings.dtype


def shape(item: Item) -> Hashable:
    """What pictures drawn together have in common, as far as that can be told without their model.

    Prompts, plans, seeds and the wording of negative prompts may differ where text becomes a picture. Pictures made
    from a photograph are drawn together where they differ in their seeds alone; edits, which are inverted, never. A
    picture and those that follow it are drawn together, and with nothing else.
    """
    job = item.job
    # SDXL takes zeros for a missing negative prompt, so having one is part of the shape.
    settings = replace(item.settings, negative="some" if item.settings.negative else "")
    if isinstance(job, Txt2img):
        return job.task, settings
    if isinstance(job, EditPhoto):
        return job.task, item.key
    facts: dict[str, Any] = job.model_dump(exclude={"name", "seed", "count"})
    if isinstance(job, P2p):
        return job.task, settings, item.seed, repr(sorted(facts.items()))
    return job.task, item.settings, item.photo, item.mask, item.wanted, repr(sorted(facts.items()))


def chunks(item: Item, tokenizer: Any) -> int:
    """How many chunks of 77 tokens the picture's contexts have: those of the longer of prompt and negative prompt.

    Contexts of one batch are padded to the longest of them, which changes a picture whose own are shorter.
    """
    from lib_ebca.language.directives import parse
    from lib_ebca.language.words import tokenise

    prompts = item.job.prompts if isinstance(item.job, P2p) else (item.wanted.prompt,)
    texts = [parse(prompt).text for prompt in prompts]
    if item.settings.guidance > 1:
        texts.append(item.settings.negative)
    return max(len(tokenise(tokenizer, text).lengths) for text in texts)


def packed(items: Iterable[Item], size: int, kind: Callable[[Item], Hashable] = shape) -> list[Pack]:
    """The items in packs of one kind and at most `size`, in the order in which their kinds come first.

    Packs of one model stand together.
    """
    groups: dict[Hashable, dict[Hashable, list[Item]]] = {}
    for item in items:
        groups.setdefault(model_of(item), {}).setdefault(kind(item), []).append(item)
    return [pack for kinds in groups.values() for group in kinds.values() for pack in cut(group, size)]


def cut(items: Sequence[Item], size: int) -> list[Pack]:
    """The items in their order, `size` at a time."""
    return [tuple(items[first : first + size]) for first in range(0, len(items), size)]
