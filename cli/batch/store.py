"""Where pictures go: a folder of this machine, or anything that fsspec knows, such as a bucket."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lib_ebca.reading import refuse_no_file
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.pictures import output_folder

from .lock import LOCK, alone_in

_PART = ".ebca-part"
_OWN_PART = re.compile(r"\..+\.[0-9a-f]{8}" + re.escape(_PART), re.DOTALL)
# What is wrong with one name alone; every other error of the system is the folder's.
_OF_THE_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EISDIR}
# What a share answers that brings files alone to the disk.
_NO_SYNC = {errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP}

_PATIENCE = 10  # tries


class FolderLost(UserError):
    """The folder takes no more files: nothing that is drawn from here on could be kept."""


class Store:
    """A folder at a path or URL. Files in it are whole or not there. Raises UserError."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.local: Path | None = None
        self._held: tuple[int, int] | None = None
        protocol, _, rest = url.partition("://")
        if url.endswith("://") or not url:
            raise UserError(f"--out {url!r} names no folder")
        if not rest or protocol == "file":
            self.local = output_folder(Path(rest or url))
            return
        import fsspec

        try:
            self._fs: Any
            self._fs, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UserError(f"--out {url!r} cannot be used: {error}") from None

    @property
    def of_one_process(self) -> bool:
        """Whether other processes would see another folder under the same name."""
        return self.url.startswith("memory://")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes into the folder; a killed owner lets go. Buckets have no locks."""
        if self.local is None:
            yield
            return
        with alone_in(self.local):
            self._held = _identity(self.local)
            for part in self.local.rglob(".*" + _PART):
                # What cannot be taken away is in nobody's way.
                with suppress(OSError):
                    ours = _OWN_PART.fullmatch(part.name) and not part.is_symlink()
                    if ours and not _in_another_run(part, self.local):
                        part.unlink(missing_ok=True)
            yield

    def refuse_links(self, name: str) -> None:
        """Raises FolderLost where the file, or a folder on the way to it, is a link to somewhere else."""
        if self.local is None:
            return
        path = self.local
        for part in Path(name).parts:
            path /= part
            try:
                link = path.is_symlink()
            except OSError as error:
                raise FolderLost(f"cannot look into {path.parent}: {error.strerror}") from None
            if link:
                raise FolderLost(f"{path} is a link, which a run does not follow: take it away, or give another --out")

    def write(self, name: str, data: bytes) -> None:
        """The file `name` is `data` from now on; a reader, or a kill at any moment, never meets half of it."""
        if self.local is None:
            try:
                # Object stores show an object when the whole of it has arrived.
                self._fs.pipe_file(f"{self._root}/{name}", data)
            except OSError as error:
                raise FolderLost(f"cannot write {name} to {self.url}: {error}") from None
            return
        self.refuse_links(name)
        path = self.local / name
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_PART}")
        try:
            self._refuse_another_folder()
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _replace(part, path)
            _sync_folder(path.parent)
        except OSError as error:
            kind = UserError if error.errno in _OF_THE_NAME else FolderLost
            raise kind(f"cannot write {path}: {error.strerror}; nothing was left half-written") from None
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _refuse_another_folder(self) -> None:
        """Raises OSError where the folder is gone, and FolderLost where it is not the one that was locked."""
        assert self.local is not None
        now = _identity(self.local)
        if self._held not in (None, now):
            raise FolderLost(f"the folder {self.local} was moved in mid-run, and another stands in its place")

    def read(self, name: str) -> bytes | None:
        """The content of `name`, or None where there is no such file."""
        self.refuse_links(name)
        try:
            if self.local is not None:
                refuse_no_file(self.local / name)
                return (self.local / name).read_bytes()
            data: bytes = self._fs.cat_file(f"{self._root}/{name}")
            return data
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"cannot read {name} in {self.url}: {error.strerror or error}") from None

    def append(self, name: str, data: bytes) -> None:
        """Adds to a file of this machine, and returns when that is on the disk."""
        assert self.local is not None
        self.refuse_links(name)
        path = self.local / name
        try:
            self._refuse_another_folder()
            with path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FolderLost(f"cannot write {path}: {error.strerror}") from None

    def remove(self, name: str) -> None:
        """Takes a file away."""
        if self.local is not None:
            (self.local / name).unlink(missing_ok=True)
        else:
            self._fs.rm_file(f"{self._root}/{name}")

    def sizes(self) -> dict[str, int]:
        """All files and their sizes in bytes: one listing."""
        if self.local is not None:
            found = {}
            for path in self.local.rglob("*"):
                # A folder that may not be looked into holds nothing that a run could use.
                with suppress(OSError):
                    if stat.S_ISREG((status := path.stat()).st_mode):
                        found[path.relative_to(self.local).as_posix()] = status.st_size
            return found
        root = self._root.rstrip("/") + "/"
        try:
            listed = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        return {path.removeprefix(root): int(facts["size"]) for path, facts in listed.items()}


def digest_of(data: bytes) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(data).hexdigest()


def _in_another_run(path: Path, top: Path) -> bool:
    """Whether a folder between `top` and the file is a run's own, which may be going on."""
    return any((folder / LOCK).exists() for folder in path.parents if top in folder.parents)


def _identity(folder: Path) -> tuple[int, int]:
    # As long as the lock holds the folder open, no other has these numbers.
    status = folder.stat()
    return status.st_dev, status.st_ino


def _replace(part: Path, path: Path) -> None:
    """Puts a finished file in another's place. Windows refuses that while somebody reads it: it has a second."""
    for _ in range(_PATIENCE):
        try:
            part.replace(path)
        except PermissionError:
            time.sleep(1 / _PATIENCE)
        else:
            return
    part.replace(path)


def _sync_folder(folder: Path) -> None:
    """Brings the folder's list of names to the disk too; Windows, and some network shares, have no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)
