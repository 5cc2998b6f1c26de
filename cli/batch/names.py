"""Names of pictures: from a pattern, safe on every file system, and never the same for two pictures."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lib_ebca.studio.errors import UserError

from .items import Item

PATTERN = "{prompt}-{seed}"
FIELDS = ("number", "job", "task", "prompt", "seed", "model", "steps", "cfg", "sampler", "key")
_LONGEST_FIELD, _LONGEST = 60, 180  # bytes in UTF-8: file systems end at 255 for a name
_UNSAFE = re.compile(r"[^\w.+-]+")
_WIDE = re.compile(r"\d{4}")  # digits of a width
_WINDOWS = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?", re.IGNORECASE | re.DOTALL)


def named(items: Sequence[Item], pattern: str = PATTERN) -> tuple[Item, ...]:
    """The items with the names of their files: the pattern, and then their key, which is what keeps names apart.

    The pattern's fields are those of FIELDS and the axes of the matrix; a slash in it makes folders. Raises UserError.
    """
    parsed = _parsed(pattern)
    return tuple(replace(item, name=name_of(item, parsed)) for item in items)


def name_of(item: Item, parsed: Sequence[tuple[str, str | None, str]]) -> str:
    """The name of one picture's file. Raises UserError for a field that the item does not have."""
    values = _values(item)
    written = "".join(literal + _field(values, name, spec) for literal, name, spec in parsed)
    *folders, last = written.split("/")
    last = safe(last, _LONGEST)
    if not any(name == "key" for _, name, _ in parsed):
        last = f"{last}-{item.key}"
    return "/".join([*(safe(folder, _LONGEST) for folder in folders), f"{last}.png"])


def safe(text: str, longest: int = _LONGEST_FIELD) -> str:
    """`text` as one part of a path on any system: letters, digits and ._+- alone, of at most `longest` bytes."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    text = _UNSAFE.sub("-", text).strip(".-")
    # Cutting may leave half a letter or a full stop at the end, which Windows drops.
    text = text.encode()[:longest].decode(errors="ignore").strip(".-")
    if _WINDOWS.fullmatch(text):
        text = f"_{text}"
    return text or "_"


def _parsed(pattern: str) -> list[tuple[str, str | None, str]]:
    try:
        parts = [(text, name, spec or "") for text, name, spec, _ in string.Formatter().parse(pattern)]
    except ValueError as error:
        raise UserError(f"--name {pattern!r} cannot be read: {error}") from None
    for _, name, spec in parts:
        if _WIDE.search(spec):
            raise UserError(f"--name {pattern!r}: {spec!r} is wider than a name can be")
        if name is not None and (not name.isidentifier() or "{" in spec):
            raise UserError(f"--name {pattern!r}: {{{name}}} should be one of {', '.join(FIELDS)}, or an axis")
    if pattern.startswith("/") or pattern.endswith("/") or "//" in pattern:
        raise UserError(f"--name {pattern!r}: a slash stands between two names")
    return parts


def _values(item: Item) -> dict[str, str | int | float]:
    from lib_ebca.language.directives import parse

    settings = item.settings
    return {
        **dict(item.axes),
        "number": item.number,
        "job": item.job_name,
        "task": item.job.task,
        "prompt": parse(item.wanted.prompt).text,
        "seed": item.seed,
        "model": Path(settings.model).name,
        "steps": settings.steps,
        "cfg": settings.guidance,
        "sampler": settings.sampler or "default",
        "key": item.key,
    }


def _field(values: dict[str, str | int | float], name: str | None, spec: str) -> str:
    if name is None:
        return ""
    if name not in values:
        raise UserError(f"--name has the field {{{name}}}: it should be one of {', '.join(values)}")
    value = values[name]
    try:
        return safe(format(value, spec))
    except (ValueError, OverflowError, MemoryError):
        raise UserError(f"--name has {{{name}:{spec}}}, which does not fit the value {value!r}") from None
