"""The manifest and the folders it lies in, of this machine and in memory."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from cli.batch.manifest import NAME, Manifest
from cli.batch.outcome import Failed, Made
from cli.batch.store import Store, digest_of
from lib_ebca.studio.errors import UserError

DATA = b"a picture"


@pytest.fixture(params=["folder", "file://", "memory://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty folder, by its path, by its URL, and one in memory."""
    if request.param == "memory://":
        yield Store("memory://pictures")
        fsspec.filesystem("memory").rm("/pictures", recursive=True)
    else:
        yield Store(("file://" if request.param == "file://" else "") + str(tmp_path / "out"))


def made(key: str, path: str | None = None) -> Made:
    """A line for a picture of DATA."""
    path = path or f"{key}.png"
    return Made(key, f"job[{key}]", path, len(DATA), digest_of(DATA), "é", 1, {}, "m", "0", 1, 0.1, 1, (), "1")


def failed(key: str) -> Failed:
    """A line for a picture that failed."""
    return Failed(key, f"job[{key}]", "jobs.yaml:1", "too large", None, "1")


def test_what_was_written_is_read_by_the_next_run(store: Store) -> None:
    manifest = Manifest(store)
    manifest.begin("digest", 3)
    manifest.add([made("a"), failed("b")])
    manifest.add([made("c")])
    # Read without having been closed, as after a kill.
    history = Manifest(store).read()
    assert (history.digest, set(history.made), set(history.failed)) == ("digest", {"a", "c"}, {"b"})
    assert history.made["a"]["prompt"] == "é"
    manifest.close()
    again = Manifest(store)
    assert again.read() == history
    again.add([made("b")])
    again.close()
    assert (set(Manifest(store).read().made), Manifest(store).read().failed) == ({"a", "b", "c"}, {})
    assert set(store.sizes()) == {NAME}


def test_the_last_line_of_a_picture_holds(store: Store) -> None:
    manifest = Manifest(store)
    manifest.add([made("a"), failed("a")])
    assert set(Manifest(store).read().failed) == {"a"}
    manifest.add([made("a", "elsewhere.png")])
    assert Manifest(store).read().made["a"]["path"] == "elsewhere.png"


def test_a_torn_line_is_lost_and_nothing_else(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    Manifest(store).add([made("a"), made("b")])
    whole = (tmp_path / NAME).read_bytes()
    for length in range(len(whole)):
        (tmp_path / NAME).write_bytes(whole[:length])
        before = set(Manifest(store).read().made)
        Manifest(store).add([made("c")])
        assert set(Manifest(store).read().made) == before | {"c"}


def test_pictures_that_are_not_as_they_were_written(store: Store) -> None:
    manifest = Manifest(store)
    for key in "abc":
        store.write(f"below/{key}.png", DATA)
    manifest.add([made(key, f"below/{key}.png") for key in "abcd"])
    store.write("below/b.png", DATA[:-1])
    assert set(manifest.read().intact(store)) == {"a", "c"}


def test_a_flipped_bit_is_found_on_this_machine(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("a.png", DATA[:-1] + b"x")
    manifest = Manifest(store)
    manifest.add([made("a")])
    assert not manifest.read().intact(store)


def test_files_are_whole_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("a/b.png", b"1")
    store.write("a/b.png", b"2")
    assert store.read("a/b.png") == b"2"
    assert store.read("a/c.png") is None
    (tmp_path / "a" / ".c.png.0123abcd.ebca-part").write_bytes(b"of a run that was killed")
    theirs = {"a/.c.png.0123abcd.part", "a/.c.ebca-part", "a/c.png.0123abcd.ebca-part"}
    for name in theirs:
        (tmp_path / name).write_bytes(b"somebody's own")
    with store.locked():
        assert set(store.sizes()) == {"a/b.png", ".lock", *theirs}


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Store(str(tmp_path)).locked(), pytest.raises(UserError, match="another run is writing"):
        Store(str(tmp_path)).locked().__enter__()
    with Store(str(tmp_path)).locked():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has locks everywhere")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    import fcntl

    def refuse(*asked: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UserError, match="its file system has no locks: give an --out on another"):
        Store(str(tmp_path)).locked().__enter__()


def test_a_lock_that_was_deleted_is_noticed(tmp_path: Path) -> None:
    with Store(str(tmp_path)).locked():
        (tmp_path / ".lock").unlink()
        with pytest.raises(UserError, match="another run is writing"):
            Store(str(tmp_path)).locked().__enter__()


@pytest.mark.parametrize("name", [NAME, "below", ".lock"])
def test_no_link_is_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "x"
    target.write_bytes(b"precious")
    out = tmp_path / "out"
    out.mkdir()
    (out / name).symlink_to(target.parent if name == "below" else target)
    store = Store(str(out))
    with pytest.raises(UserError, match="is a link"), store.locked():
        Manifest(store).add([made("a")])
        store.write("below/a.png", DATA)
    assert target.read_bytes() == b"precious"
    assert list(target.parent.iterdir()) == [target]


SPOILT = [
    '{"kind": "picture"}',
    '{"kind": "failed"}',
    "[1]",
    "[" * 100_000,
    "{",
    '{"kind": ["picture"]}',
    '{"kind": "failed", "key": ["a"], "label": "x"}',
    '{"kind": "failed", "key": "a"}',
    '{"kind": "run"}',
    "\udcff",
]


def test_a_spoilt_line_is_told_by_its_number_and_passed_over(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    Manifest(store).add([made("a"), failed("b")])
    with (tmp_path / NAME).open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write("".join(line + "\n" for line in SPOILT))
    Manifest(store).add([made("c")])
    history = Manifest(store).read()
    assert (set(history.made), set(history.failed)) == ({"a", "c"}, {"b"})
    assert history.unread == tuple(range(3, 3 + len(SPOILT)))


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../x.png"},
        {"path": "/etc/passwd"},
        {"path": "C:\\x"},
        {"path": ""},
        {"bytes": -1},
        {"seconds": float("nan")},
        {"seconds": None},
        {"evaluations": 10**400},
        {"label": None},
        {"key": {}},
    ],
)
def test_a_line_that_no_run_writes_says_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / NAME).write_text(json.dumps({**made("a").to_line(), **change}) + "\n")
    history = Manifest(Store(str(tmp_path))).read()
    assert (history.made, history.unread) == ({}, (1,))


def test_a_folder_that_cannot_be() -> None:
    with pytest.raises(UserError, match="cannot be used"):
        Store("nonsense://x")
