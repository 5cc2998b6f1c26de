"""What the WebUI would do with a prompt or a picture's text and is not done here: told, not dropped."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lib_ebca.language.checks import meant, shortened
from lib_ebca.language.scanning import FORMS
from lib_ebca.studio import hires

_TAG = re.compile(r"<(?:lora|lyco|hypernet):[^<>]+>", re.IGNORECASE)
_SCHEDULED = re.compile(r"(?<!\\)\[[^\[\]|]*:\s*[0-9]*\.?[0-9]+\s*\]")
_ALTERNATING = re.compile(r"(?<!\\)\[[^\[\]|]*\|[^\[\]]*\]")
_NEARLY = re.compile(rf"<\s*(?:{'|'.join(FORMS)})s?(?![\w:>])[^<>]*>", re.IGNORECASE)
_TAGGED = re.compile(r"<([a-z]{3,12}):[^<>]+>", re.IGNORECASE)
_AND = re.compile(r"\bAND\b")
# Read here, or without a say in how the picture looks.
_READ = frozenset(
    {
        *("Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model", "Model hash", "Clip skip"),
        *("Version", "Lora hashes", "RNG"),
    }
)
# Of ours in the WebUI, and nothing that the command line has: a plan in one of two passes, an edit in the img2img tab.
_OF_THE_WEBUI = frozenset({"EBCA passes", "EBCA inversion"})
_NAMED = 8  # fields in a sentence


def unread_in_prompt(prompt: str) -> tuple[str, ...]:
    """Sentences on what of a prompt the WebUI would act on, and the text encoder gets as plain text here."""
    tags = dict.fromkeys(_TAG.findall(prompt))
    told = [f"{shortened(tag)} was read as plain text: here a LoRA is given with --lora PATH:WEIGHT." for tag in tags]
    told += [
        f"{shortened(near)} was read as plain text: a directive has colons, such as <edit:dog:0.5> or <bcu:0.01:0.02>."
        for near in dict.fromkeys(_NEARLY.findall(prompt))
    ]
    told += [
        f"{shortened(found[0])} was read as plain text: no directive has that name{nearest}."
        for found in _TAGGED.finditer(prompt)
        if found[1].lower() not in FORMS and (nearest := meant(found[1], FORMS))
    ]
    for what, pattern in (("scheduling", _SCHEDULED), ("alternation", _ALTERNATING), ("AND", _AND)):
        found = pattern.search(prompt)
        if found is not None:
            told.append(
                f"{shortened(found[0])} was read as plain text: the WebUI's {what} is not served here; an <edit:...> "
                "with from= and until= adds words, or takes them away, for a part of the pass."
            )
    return tuple(told)


def unread_fields(fields: Mapping[str, str]) -> tuple[str, ...]:
    """The names of a picture's fields that somebody else's program acted on, and nothing here reads."""
    ours = "EBCA task" in fields
    read = _READ.union(hires.read_fields(fields))
    unread = [
        name
        for name in fields
        if name not in read
        and (name in _OF_THE_WEBUI or not name.startswith("EBCA"))
        and not (name == "Denoising strength" and ours)
    ]
    return tuple(unread)


def karras(fields: Mapping[str, str]) -> bool:
    """Whether a picture's sampler is the one that is known here with Karras' noise levels.

    Since 1.9 the WebUI names the noise schedule in a field of its own.
    """
    return fields.get("Sampler") == "DPM++ 2M" and fields.get("Schedule type") == "Karras"


def told(unread: tuple[str, ...]) -> tuple[str, ...]:
    """A sentence on fields that nothing reads, if there are any."""
    if not unread:
        return ()
    named = ", ".join(map(shortened, unread[:_NAMED])) + (", ..." if len(unread) > _NAMED else "")
    return (f"The picture will differ: of its text, this is not read here: {named}.",)
