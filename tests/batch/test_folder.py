"""A folder that holds somebody's files too, and one that is taken away in the middle of a run."""

from __future__ import annotations

import errno
import json
import os
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from cli.batch.manifest import NAME
from cli.batch.store import FolderLost, Store
from lib_ebca.studio.errors import UserError
from tests.batch.conftest import Write, asked, carry_out
from tests.modes import modes_hold

CATS = {"prompt": "a cat", "count": 5}


def test_somebodys_file_of_the_same_name_is_left_alone(write: Write, tmp_path: Path) -> None:
    file, out = write(CATS), tmp_path / "out"
    out.mkdir()
    name = asked(file).items[3].name
    (out / name).write_bytes(b"somebody's own")
    with pytest.raises(UserError, match=f"holds a file {name} that no run made"):
        carry_out(file, out)
    assert (out / name).read_bytes() == b"somebody's own"
    assert {path.name for path in out.iterdir()} <= {name, ".lock"}


def test_a_picture_whose_line_a_kill_prevented_is_made_again(write: Write, tmp_path: Path) -> None:
    file, out = write(CATS), tmp_path / "out"
    carry_out(file, out)
    lines = (out / NAME).read_text().splitlines(keepends=True)
    (out / NAME).write_text("".join(lines[:-2]))
    assert (carry_out(file, out).made, len(list(out.glob("*.png")))) == (2, 5)


def test_a_spoilt_manifest_is_told(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = write({"prompt": "a cat"}), tmp_path / "out"
    carry_out(file, out)
    with (out / NAME).open("a") as manifest:
        manifest.write('{"kind": "picture"}\n')
    assert carry_out(file, out, quiet=False).before == 1
    assert f"{NAME} cannot be read in 1 of its lines (3): passed over." in capsys.readouterr().err


def test_a_folder_that_takes_no_more_ends_the_run_at_once(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = write(CATS), tmp_path / "out"
    asked_for: list[str] = []
    truly = Store.write

    def until_the_second(store: Store, name: str, data: bytes) -> None:
        # Root writes into read-only folders: a link in the way stands for one.
        asked_for.append(name)
        if len(asked_for) == 2:
            (out / name).symlink_to(tmp_path)
        truly(store, name, data)

    monkeypatch.setattr(Store, "write", until_the_second)
    with pytest.raises(FolderLost, match="is a link"):
        carry_out(file, out, batch_size=1)
    assert len(asked_for) == 2
    kinds = [json.loads(line)["kind"] for line in (out / NAME).read_text().splitlines()]
    assert kinds == ["run", "picture"]


@pytest.mark.parametrize("name", [NAME, ".lock"])
def test_a_folder_in_the_place_of_a_file_of_ours_is_a_sentence(write: Write, tmp_path: Path, name: str) -> None:
    file, out = write({"prompt": "a cat"}), tmp_path / "out"
    (out / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"cannot (read|lock).*{name}"):
        carry_out(file, out)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_in_the_place_of_the_manifest_is_not_waited_for(write: Write, tmp_path: Path) -> None:
    file, out = write({"prompt": "a cat"}), tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / NAME)
    with pytest.raises(UserError, match="pipe or a device"):
        carry_out(file, out)


@pytest.mark.parametrize("mode", [0o000, 0o600])
def test_a_folder_of_somebodys_that_may_not_be_entered_is_passed_over(write: Write, tmp_path: Path, mode: int) -> None:
    file, out = write({"prompt": "a cat"}), tmp_path / "out"
    theirs = out / "theirs"
    theirs.mkdir(parents=True)
    for name in ("a.png", ".a.png.0123abcd.ebca-part"):
        (theirs / name).write_bytes(b"somebody's own")
    theirs.chmod(mode)
    with modes_hold():
        assert carry_out(file, out).made == 1
        with pytest.raises(FolderLost, match=f"cannot look into {theirs}"):
            carry_out(write({"prompt": "a dog"}), out, pattern="theirs/{seed}", resume=True)


def test_a_part_that_may_not_be_taken_away_stays(write: Write, tmp_path: Path) -> None:
    file, theirs = write({"prompt": "a cat"}), tmp_path / "out" / "theirs"
    theirs.mkdir(parents=True)
    (theirs / ".a.png.0123abcd.ebca-part").write_bytes(b"of somebody else's run")
    theirs.chmod(0o500)
    with modes_hold():
        assert carry_out(file, tmp_path / "out").made == 1


@pytest.mark.parametrize("another", [False, True])
def test_a_folder_that_is_moved_away_ends_the_run(tmp_path: Path, another: bool) -> None:
    out = tmp_path / "out"
    store = Store(str(out))
    with store.locked():
        store.write("a/1.png", b"1")
        store.append(NAME, b"a line")
        out.rename(tmp_path / "moved")
        if another:
            out.mkdir()
        told = "was moved in mid-run" if another else "cannot write"
        with pytest.raises(FolderLost, match=told):
            store.write("a/2.png", b"2")
        with pytest.raises(FolderLost, match=told):
            store.append(NAME, b"another line")
    assert list(out.iterdir()) == [] if another else not out.exists()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_a_share_that_brings_no_folders_to_the_disk_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    truly = os.fsync

    def files_alone(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        truly(handle)

    monkeypatch.setattr(os, "fsync", files_alone)
    with nullcontext() if number == errno.EINVAL else pytest.raises(FolderLost, match="cannot write"):
        Store(str(tmp_path)).write("a.png", b"a")


def test_a_run_below_keeps_what_it_writes(tmp_path: Path) -> None:
    parts = [tmp_path / place / ".a.png.0123abcd.ebca-part" for place in ("theirs", "theirs/below", "ours")]
    for part in parts:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"a")
    with Store(str(tmp_path / "theirs")).locked():
        for part in parts[:2]:
            part.write_bytes(b"a")
        with Store(str(tmp_path)).locked():
            assert [part.exists() for part in parts] == [True, True, False]
