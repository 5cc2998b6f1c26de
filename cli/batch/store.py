"""Where pictures go: a folder of this machine, or anything that fsspec knows, such as a bucket."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.pictures import output_folder

_LOCK = ".lock"


class Store:
    """A folder at a path or URL. Files in it are whole or not there. Raises UserError."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.local: Path | None = None
        protocol, _, rest = url.partition("://")
        if not rest or protocol == "file":
            self.local = output_folder(Path(rest or url).expanduser())
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
        from filelock import FileLock, Timeout

        lock = FileLock(self.local / _LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"another run is writing into {self.url}: wait for it, or give another --out") from None
        try:
            for part in self.local.rglob(".*.part"):
                part.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def write(self, name: str, data: bytes) -> None:
        """The file `name` is `data` from now on; a reader, or a kill at any moment, never meets half of it."""
        if self.local is None:
            # Object stores show an object when the whole of it has arrived.
            self._fs.pipe_file(f"{self._root}/{name}", data)
            return
        path = self.local / name
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            _sync_folder(path.parent)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}; nothing was left half-written") from None
        finally:
            part.unlink(missing_ok=True)

    def read(self, name: str) -> bytes | None:
        """The content of `name`, or None where there is no such file."""
        try:
            if self.local is not None:
                return (self.local / name).read_bytes()
            data: bytes = self._fs.cat_file(f"{self._root}/{name}")
            return data
        except FileNotFoundError:
            return None

    def append(self, name: str, data: bytes) -> None:
        """Adds to a file of this machine, and returns when that is on the disk."""
        assert self.local is not None
        path = self.local / name
        try:
            with path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}") from None

    def remove(self, name: str) -> None:
        """Takes a file away."""
        if self.local is not None:
            (self.local / name).unlink(missing_ok=True)
        else:
            self._fs.rm_file(f"{self._root}/{name}")

    def sizes(self) -> dict[str, int]:
        """All files and their sizes in bytes: one listing."""
        if self.local is not None:
            found = (path for path in self.local.rglob("*") if path.is_file())
            return {path.relative_to(self.local).as_posix(): path.stat().st_size for path in found}
        root = self._root.rstrip("/") + "/"
        try:
            listed = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        return {path.removeprefix(root): int(facts["size"]) for path, facts in listed.items()}


def digest_of(data: bytes) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Brings the folder's list of names to the disk too; Windows has no such call."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
