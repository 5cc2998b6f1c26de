"""Files that somebody named, read with a bound: no device without an end, no silent pipe, no file of absurd size."""

from __future__ import annotations

import errno
import json
import stat
from pathlib import Path
from typing import Any

_OF_THE_SHELL = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
_LONGEST_JSON = 100_000_000  # bytes; the largest there is, SDXL's votes, has 0.2 MB


def text_in(path: Path, largest: int) -> str:
    """The text of a file in UTF-8, without a byte-order mark, its lines ended by a line feed alone.

    A pipe is read where the shell opened it (`< file`, `<(command)`): a named one may never say anything.

    Args:
        path: the file.
        largest: bytes that it may have.

    Raises:
        OSError: it cannot be read, is a named pipe, or is larger; `strerror` is the reason in words.
        UnicodeDecodeError: it is no UTF-8.
    """
    if stat.S_ISFIFO(path.stat().st_mode) and not str(path).startswith(_OF_THE_SHELL):
        raise OSError(errno.ESPIPE, "it is a named pipe, give a file", str(path))
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"it is larger than {largest / 1e6:g} MB", str(path))
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def json_in(path: Path, largest: int = _LONGEST_JSON) -> Any:
    """What a file in JSON says.

    Args:
        path: the file.
        largest: bytes that it may have.

    Raises:
        OSError: as :func:`text_in`.
        ValueError: it is no JSON in UTF-8, or nested deeper than can be read.
    """
    try:
        return json.loads(text_in(path, largest))
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def refuse_no_file(path: Path) -> None:
    """For what has to be read from any place of it, such as a picture.

    Raises:
        OSError: there is nothing, a folder, or something that is no file: a pipe, a device.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.ESPIPE, "it is a pipe or a device, give a file", str(path))
