"""Files that are either whole or not there, and never in the place of another unless that is meant."""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lib_ebca.reading import refuse_no_file
from lib_ebca.studio.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_NUMBERED = re.compile(r"([0-9]{5,9})-[0-9]+")
# Whose formats are programs that another program is started for.
_PROGRAMS = {"EPS", "WMF"}
# File systems without hard links (FAT, some network shares) answer with one of these; exFAT under Windows with EINVAL.
_NO_LINKS = {errno.EINVAL, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def output_folder(folder: Path) -> Path:
    """`folder`, its ~ resolved, made if need be. Raises UserError where it cannot be written to or listed."""
    try:
        folder = folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot make the folder {folder}: {getattr(error, 'strerror', None) or error}") from None
    for way, needed in {"write into": os.W_OK | os.X_OK, "list": os.R_OK}.items():
        if not os.access(folder, needed):
            raise UserError(f"cannot {way} the folder {folder}: permission denied")
    return folder


def write_new(path: Path, data: bytes) -> None:
    """Writes `data` to `path` so that a reader, a crash or Ctrl-C never sees half of it.

    Raises FileExistsError where there is a file already, and UserError where the disk does not take it.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _publish(part, path)
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; nothing was left half-written") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_over(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, in the place of what stands there; a stop leaves that, and never half of either.

    Raises OSError.
    """
    # A name of its own: path.part may be somebody's.
    part = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        with part.open("xb") as file:
            file.write(data)
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _publish(part: Path, path: Path) -> None:
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without links the name is taken first, so that two writers cannot both have it.
        path.touch(exist_ok=False)
        part.replace(path)


def png(image: Image, parameters: str | None = None, made_by: str | None = None) -> bytes:
    """The picture as a PNG, with the WebUI's "parameters" text if there is one, and what made it as its "Software"."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    if parameters is not None:
        text.add_text("parameters", parameters)
    if made_by is not None:
        text.add_text("Software", made_by)
    data = io.BytesIO()
    image.save(data, format="PNG", pnginfo=text)
    return data.getvalue()


def save_numbered(image: Image, folder: Path, seed: int, parameters: str) -> Path:
    """Writes `folder`/NUMBER-SEED.png under the next free number. Raises UserError."""
    data = png(image, parameters)
    number = _next_number(folder)
    while True:
        path = folder / f"{number:05d}-{seed}.png"
        try:
            write_new(path, data)
        except FileExistsError:
            number += 1
        else:
            return path


def save_free(path: Path, data: bytes) -> Path:
    """Writes `data` to `path`, or to path-2, path-3, ... where that is taken, and says where. Raises UserError."""
    free, number = path, 1
    while True:
        try:
            write_new(free, data)
        except FileExistsError:
            number += 1
            free = path.with_stem(f"{path.stem}-{number}")
        else:
            return free


def _next_number(folder: Path) -> int:
    try:
        taken = [_NUMBERED.match(path.name) for path in folder.iterdir()]
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from None
    return max((int(match.group(1)) for match in taken if match), default=0) + 1


def beside(picture: Path, what: str) -> Path:
    """The path of something that belongs to `picture`: 00001-7.png and "energy" give 00001-7-energy.png."""
    return picture.with_name(f"{picture.stem}-{what}.png")


@contextmanager
def unwarned() -> Iterator[None]:
    """Pillow tells a broken header in lines that name its own source; what it leads to has a sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def open_picture(path: Path, data: bytes | None = None) -> Image:
    """The picture in the file, or in `data`, which came from there; read completely.

    Raises UserError where it is none, and where it is larger than Pillow holds to be sane.
    """
    from PIL import Image

    try:
        if data is None:
            refuse_no_file(path)
        with unwarned():
            # Pillow warns of a bomb up to twice the size at which it refuses it.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path if data is None else io.BytesIO(data)) as image:
                if image.format in _PROGRAMS:
                    raise UserError(f"{path} is a drawing ({image.format}) and no picture of pixels: save it as PNG")
                image.load()
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: give a picture") from None
    except PermissionError:
        raise UserError(f"cannot read {path}: permission denied") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{path} has more than {Image.MAX_IMAGE_PIXELS} pixels: make the picture smaller") from None
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, struct.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path} as a picture: {reason}") from None
    return image
