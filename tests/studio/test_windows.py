"""The rules of Windows, simulated: files that are open, disks without links."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from cli.batch.store import FolderLost, Store
from lib_ebca.studio.errors import UserError
from lib_ebca.studio.latent_cache import LatentCache
from lib_ebca.studio.pictures import write_new

REPLACE = Path.replace


class Reader:
    """Somebody who has a file open for so many of our attempts: until then it cannot be replaced."""

    def __init__(self, patch: pytest.MonkeyPatch, attempts: int) -> None:
        self.left = attempts
        patch.setattr(Path, "replace", lambda part, path: self.replace(part, path))

    def replace(self, part: Path, path: Path) -> Path:
        """Path.replace, as Windows has it."""
        if Path(path).exists() and self.left:
            self.left -= 1
            raise PermissionError(errno.EACCES, "Access is denied", str(path))
        return REPLACE(part, path)


def test_a_file_that_is_read_for_a_moment_is_replaced_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    store.write("a.json", b"old")
    reader = Reader(monkeypatch, 3)
    store.write("a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new" and reader.left == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_a_file_that_stays_open_is_one_sentence_and_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    store.write("a.json", b"old")
    Reader(monkeypatch, 1000)
    with pytest.raises(FolderLost, match=r"a\.json: Access is denied"):
        store.write("a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_an_inversion_that_another_process_reads_is_kept_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, latents = LatentCache(tmp_path), torch.randn(1, 4, 8, 8)
    cache.put("k", latents)
    Reader(monkeypatch, 1000)
    cache.put("k", latents)
    found = cache.get("k")
    assert found is not None and torch.equal(found, latents)
    assert [path.name for path in tmp_path.iterdir()] == ["k.safetensors"]


@pytest.mark.parametrize("answer", [errno.EINVAL, errno.EPERM, errno.ENOTSUP])
def test_a_disk_without_links_takes_a_picture_and_loses_none(
    answer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, target: Path) -> None:
        raise OSError(answer, "Incorrect function", str(path))

    monkeypatch.setattr(Path, "hardlink_to", refused)
    write_new(tmp_path / "a.png", b"first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a.png", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"first"


def test_another_refusal_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "hardlink_to", refused)
    with pytest.raises(UserError, match="No space left"):
        write_new(tmp_path / "a.png", b"first")
    assert list(tmp_path.iterdir()) == []
