"""Prompts of one's own: one a line, or JSON that also names the nouns."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from lib_ebca.reading import text_in

from .prompts import Prompt

_LARGEST = 10_000_000  # bytes


class PromptFileError(ValueError):
    """The file cannot be used; one sentence says why."""


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file.

    `.json` holds a list of texts or of {"prompt": text, "nouns": [words]}; every other file has one prompt a line, and
    empty lines and those that begin with # are left out. The nouns are what a method may boost.

    Raises:
        PromptFileError: it cannot be read, holds no prompt, holds one twice, or names a noun its prompt does not have.
    """
    try:
        text = text_in(path, _LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PromptFileError(f"prompts {str(path)!r} cannot be read: {reason}") from None
    found = _from_json(text, path) if path.suffix == ".json" else _from_lines(text)
    if not found:
        raise PromptFileError(f"prompts {str(path)!r} holds none: it should have one a line, or be a JSON list")
    twice = [text for text, times in Counter(prompt.text for prompt in found).items() if times > 1]
    if twice:
        raise PromptFileError(f"prompts {str(path)!r} holds {twice[0]!r} twice: each should be there once")
    return found


def _from_lines(text: str) -> list[Prompt]:
    lines = (line.strip() for line in text.splitlines())
    return [Prompt(line) for line in lines if line and not line.startswith("#")]


def _from_json(text: str, path: Path) -> list[Prompt]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PromptFileError(f"prompts {str(path)!r} is not JSON: {error}") from None
    if not isinstance(data, list):
        raise PromptFileError(f"prompts {str(path)!r} should be a list of texts or of objects with prompt and nouns")
    return [_entry(entry, f"{str(path)!r}, entry {number}") for number, entry in enumerate(data, 1)]


def _entry(entry: Any, where: str) -> Prompt:
    if isinstance(entry, str):
        entry = {"prompt": entry}
    known = isinstance(entry, dict) and set(entry) <= {"prompt", "nouns"}
    text, nouns = (entry.get("prompt"), entry.get("nouns", [])) if known else (None, [])
    if not isinstance(text, str) or not text.strip():
        raise PromptFileError(f'prompts {where}: it should be a text or {{"prompt": text, "nouns": [words]}}')
    if not isinstance(nouns, list) or not all(isinstance(noun, str) and noun for noun in nouns):
        raise PromptFileError(f"prompts {where}: nouns is {nouns!r}, it should be a list of words")
    for noun in nouns:
        if noun.lower() not in text.lower():
            raise PromptFileError(f"prompts {where}: the noun {noun!r} is not in {text!r}")
    return Prompt(text.strip(), nouns=tuple(nouns))
