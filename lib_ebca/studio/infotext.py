"""The WebUI's "parameters" text: prompt, negative prompt and one line of settings, written into the picture.

The grammar is that of A1111's `generation_parameters_copypaste.py`: a value with a comma, a colon or a newline in it
is written as a JSON string.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.pictures import unwarned

if TYPE_CHECKING:
    from PIL.Image import Image

_NEGATIVE = "Negative prompt:"
# A name is looked for where one can begin alone: at every character it would take time quadratic in its length.
_FIELD = re.compile(r'(?<![\w \-/])[ \-/]*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
LONGEST = 1_000_000  # characters of a picture's text
_FEWEST_FIELDS = 3  # fewer in the last line, and it belongs to the prompt
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286


@dataclass(frozen=True)
class Infotext:
    """What a "parameters" text says."""

    prompt: str
    negative: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def write(info: Infotext) -> str:
    """The text for `info`. `read` gives back the same fields, and the same prompts up to white space at line ends."""
    lines = [info.prompt]
    if info.negative:
        lines.append(f"{_NEGATIVE} {info.negative}")
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in info.fields.items()))
    return "\n".join(lines).strip()


def read(text: str) -> Infotext:
    """What the text says, whoever wrote it: unknown fields are kept as they are."""
    *lines, last = text.strip().split("\n")
    found = _FIELD.findall(last)
    if len(found) < _FEWEST_FIELDS:
        lines.append(last)
        found = []
    prompt: list[str] = []
    negative: list[str] = []
    into = prompt
    for line in (line.strip() for line in lines):
        if line.startswith(_NEGATIVE):
            into = negative
            line = line[len(_NEGATIVE) :].strip()
        into.append(line)
    return Infotext("\n".join(prompt), "\n".join(negative), {name: _unquoted(value) for name, value in found})


def from_picture(image: Image) -> str | None:
    """The "parameters" text of a picture: of a PNG its text chunk, of a JPEG or WebP its EXIF user comment.

    Raises UserError for a text of more than LONGEST characters.
    """
    text = image.info.get("parameters")
    if not isinstance(text, str):
        text = _user_comment(_comment(image))
    if text is not None and len(text) > LONGEST:
        raise UserError(f"the picture's text has {len(text)} characters: {LONGEST} are the most that are read")
    return text


def _comment(image: Image) -> object:
    # Pillow reads the header when it is asked for, and raises whatever a broken one leads to.
    try:
        with unwarned():
            return image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    except (SyntaxError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, struct.error):
        return None


def _user_comment(comment: object) -> str | None:
    if not isinstance(comment, bytes):
        return None
    # EXIF 2.3, UserComment: eight bytes name the character code of the rest. The WebUI writes big-endian UTF-16.
    code, rest = comment[:8], comment[8:]
    encoding = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}.get(code)
    if encoding is None:
        return None
    text = rest.decode(encoding, errors="replace")
    if code == b"UNICODE\0" and not any(map(str.isascii, text)):
        # Not a letter of "Steps" in it: others write it little-endian, and so it is read.
        text = rest.decode("utf-16-le", errors="replace")
    return text


def _quoted(value: str) -> str:
    if any(character in value for character in ',:\n"') or value != value.strip():
        return json.dumps(value, ensure_ascii=False)
    return value


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        try:
            read = json.loads(value)
        except json.JSONDecodeError:
            return value
        return read if isinstance(read, str) else value
    return value
