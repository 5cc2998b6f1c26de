"""From what `--model` says to where the model lies. Loads nothing."""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from lib_ebca.language.checks import meant, shortened
from lib_ebca.reading import json_in, refuse_no_file
from lib_ebca.studio.errors import RiskWarning, UserError

_PACKAGE = Path(__file__).resolve().parents[1]
# Inside the package in a wheel, beside it in a checkout.
MODELS = _PACKAGE / "models" if (_PACKAGE / "models").is_dir() else _PACKAGE.parent / "models"
INDEX = "model_index.json"
SCHEDULER = "scheduler/scheduler_config.json"
SAFE = ".safetensors"
PICKLES = {".ckpt", ".pt", ".pth", ".bin"}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20
_LONGEST_HEADER = 100_000_000  # bytes; the format's own bound
_DECIDING = ("unet", "vae", "text_encoder", "text_encoder_2")


class Kind(Enum):
    """The ways in which a model can lie there."""

    FOLDER = "folder"
    FILE = "file"
    HUB = "hub"


@dataclass(frozen=True)
class Location:
    """Where a model lies. `path` is its folder or file, and None for a hub id; `given` is what the user wrote."""

    given: str
    name: str
    kind: Kind
    path: Path | None = None

    @property
    def settings(self) -> Path | None:
        """A folder in diffusers layout beside a file, of the file's name without its ending; it needs no weights."""
        if self.kind is not Kind.FILE or self.path is None:
            return None
        folder = self.path.with_suffix("")
        return folder if (folder / INDEX).is_file() else None


def embedded() -> list[str]:
    """Names of the models that come with the program."""
    if not MODELS.is_dir():
        return []
    return sorted(folder.name for folder in MODELS.iterdir() if (folder / INDEX).is_file())


def locate(given: str, allow_pickle: bool = False) -> Location:
    """Where the model `given` lies: an embedded name, then a folder or file, then a hub id. Raises UserError."""
    if given in embedded():
        return Location(given, given, Kind.FOLDER, MODELS / given)
    path = path_of(given)
    if path.is_dir():
        return _folder(given, path)
    if path.is_file():
        return _file(given, path, allow_pickle)
    if _HUB_ID.fullmatch(given) and path.suffix.lower() not in {SAFE, *PICKLES}:
        return Location(given, given.rpartition("/")[2], Kind.HUB)
    names = ", ".join(embedded()) or "none is installed"
    raise UserError(
        f"there is no model {shortened(given)!r}{meant(given, embedded())}: give an embedded name ({names}), "
        "a folder in diffusers layout, a .safetensors file, or a hub id such as owner/name"
    )


def path_of(given: str) -> Path:
    """The path that `given` spells, whether something is there or not. Raises UserError where it can be none."""
    try:
        path = Path(given).expanduser()
        # Not exists(), which takes a path with a NUL for one that is not there.
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except PermissionError as error:
        raise UserError(f"cannot read {shortened(given)!r}: {error.strerror}") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{shortened(given)!r} can be no path: {str(reason).lower()}") from None
    return path


def _folder(given: str, path: Path) -> Location:
    try:
        holds_one = (path / INDEX).is_file()
    except OSError as error:
        raise UserError(f"cannot read the folder {given!r}: {error.strerror}") from None
    if not holds_one:
        raise UserError(f"the folder {given!r} holds no model: a folder in diffusers layout has a file {INDEX}")
    return Location(given, path.resolve().name, Kind.FOLDER, path)


def _file(given: str, path: Path, allow_pickle: bool) -> Location:
    if path.suffix.lower() not in {SAFE, *PICKLES}:
        raise UserError(f"the file {given!r} is not a model: a single file ends in {SAFE}")
    refuse_pickle(path, allow_pickle)
    return Location(given, path.stem, Kind.FILE, path)


def refuse_pickle(path: Path, allowed: bool) -> None:
    """Raises UserError for a file that could run code of its own when it is read; where that is `allowed`, warns.

    The libraries go by a file's name: what ends in .safetensors is never unpickled, and everything else is. So both the
    name and the content have to be those of a safetensors file.
    """
    safe = _is_safetensors(path)
    if path.name.endswith(SAFE):
        if not safe:
            raise UserError(f"{path} is no safetensors file, whatever its name: it is damaged, or of another kind")
        return
    if not allowed and safe:
        raise UserError(f"{path} is a safetensors file under another name: rename it, so that it ends in {SAFE}")
    if not allowed:
        kind = "is" if path.suffix.lower() in PICKLES else "may be"
        raise UserError(
            f"{path} {kind} a pickle, which can run code of its own when it is read: "
            "use a .safetensors file, or add --allow-pickle if you trust where it came from"
        )
    warnings.warn(f"{path} is a pickle, which can run code of its own when it is read", RiskWarning, stacklevel=2)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as the format does: eight bytes for the length of the header, and the header, in JSON."""
    try:
        refuse_no_file(path)
        with path.open("rb") as file:
            length, first = int.from_bytes(file.read(8), "little"), file.read(1)
            return first == b"{" and length <= min(_LONGEST_HEADER, path.stat().st_size - 8)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def pipeline_class(index: Path) -> str:
    """The pipeline class that a folder's model_index.json names. Raises UserError."""
    try:
        name = json_in(index)["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"cannot read {index}: {getattr(error, 'strerror', None) or error}") from None
    return str(name)


def model_hash(location: Location, folder: Path | None = None) -> str:
    """The first ten digits of the SHA-256 of the model's file, as the WebUI has it.

    Of a folder: of the digests of all weights that decide a picture, those of the UNet, the VAE and the text encoders.
    """
    where = folder or location.path
    if where is None:
        return ""
    if where.is_file():
        return file_hash(where)
    found = (path for part in _DECIDING for path in sorted((where / part).glob("*.*")))
    digests = [_digest(path) for path in found if path.suffix in {SAFE, *PICKLES}]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:10]


def file_hash(path: Path) -> str:
    """The first ten digits of the SHA-256 of a file."""
    return _digest(path)[:10]


def _digest(path: Path) -> str:
    # The hub's cache links to files that are named by this very digest.
    if path.is_symlink() and _SHA256.fullmatch(stored := path.resolve().name):
        return stored
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
