"""One run at a time in a folder of this machine."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib_ebca.studio.errors import UserError

LOCK = ".lock"
# What a file system without locks answers: NFS without its daemon, Lustre and others mounted without them.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Nobody else is in such a block for the folder; a killed owner lets go. Raises UserError where somebody is.

    Both a file in the folder and the folder itself are locked: the one is known to every system, network shares
    included, and the other cannot be deleted while the run goes on.
    """
    from filelock import FileLock, Timeout

    if (folder / LOCK).is_symlink():
        raise UserError(f"{folder / LOCK} is a link: take it away, or give another --out")
    lock = FileLock(folder / LOCK)
    try:
        with warnings.catch_warnings():
            # Newer releases go by the file's being there where the system has no call for locks, and warn of it.
            warnings.simplefilter("ignore", UserWarning)
            lock.acquire(timeout=0)
    except Timeout:
        raise _busy(folder) from None
    except (OSError, NotImplementedError) as error:
        number, reason = getattr(error, "errno", errno.ENOSYS), getattr(error, "strerror", None) or error
        elsewhere = "; its file system has no locks: give an --out on another" if number in _NO_LOCKS else ""
        raise UserError(f"cannot lock {folder / LOCK}: {reason}{elsewhere}") from None
    try:
        with _folder_locked(folder):
            yield
    finally:
        lock.release()


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"cannot lock {folder}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(folder) from None
        except OSError:
            # Some network shares lock no folders: there the file has to do.
            pass
        yield
    finally:
        os.close(handle)


def _busy(folder: Path) -> UserError:
    return UserError(f"another run is writing into {folder}: wait for it, or give another --out")
