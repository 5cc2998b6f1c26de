"""The manifest and the folders it lies in, of this machine and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
    (tmp_path / "a" / ".c.png.0123.part").write_bytes(b"of a run that was killed")
    with store.locked():
        assert set(store.sizes()) == {"a/b.png", ".lock"}


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Store(str(tmp_path)).locked(), pytest.raises(UserError, match="another run is writing"):
        Store(str(tmp_path)).locked().__enter__()
    with Store(str(tmp_path)).locked():
        pass


def test_a_folder_that_cannot_be() -> None:
    with pytest.raises(UserError, match="cannot be used"):
        Store("nonsense://x")
