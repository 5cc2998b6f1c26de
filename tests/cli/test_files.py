"""Whole files or none: full disks, Ctrl-C, and names that are taken."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from lib_ebca.studio import pictures
from lib_ebca.studio.interrupts import held_interrupts

ROOM = 4096  # bytes that a file may have


def limited_files() -> None:
    """Lets the kernel refuse longer files, as a full disk would."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, ROOM))


def test_a_disk_that_is_full_leaves_a_sentence_and_no_file(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "cli",
        "txt2img",
        "a cat",
        "--model",
        str(tiny_model),
        "--steps",
        "1",
        "--out",
        str(out),
    ]
    done = subprocess.run(
        [*command, "--width", "64", "--height", "64", "--count", "2"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited_files,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"Error: cannot write {out}")
    assert done.stderr.count("\n") == 1
    assert list(out.iterdir()) == []


def _hear_interrupts() -> None:
    """A test run in the background of a shell ignores SIGINT, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_exits_with_130_and_leaves_whole_pictures(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "cli",
        "txt2img",
        "a cat",
        "--model",
        str(tiny_model),
        "--steps",
        "4",
        "--out",
        str(out),
    ]
    running = subprocess.Popen(
        [*command, "--count", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,
    )
    assert running.stdout is not None
    first = running.stdout.readline()
    assert Path(first.strip()).is_file()
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    assert "Traceback" not in told
    for path in out.iterdir():
        assert path.suffix == ".png"
        pictures.open_picture(path)


def test_ctrl_c_while_loading_exits_with_130(tiny_model: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "cli",
        "txt2img",
        "a cat",
        "--model",
        str(tiny_model),
        "--out",
        str(tmp_path / "out"),
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=_hear_interrupts)
    while not (tmp_path / "out").exists():  # made just before the model is loaded
        assert running.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    # Python ends with the signal itself, which a shell also shows as 130, where the interrupt crossed an exec().
    assert running.returncode in (130, -signal.SIGINT), told
    assert told == ""
    assert list((tmp_path / "out").iterdir()) == []


def test_ctrl_c_inside_an_import_waits_for_its_end() -> None:
    reached = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), held_interrupts():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with held_interrupts():
            reached.append("undisturbed")
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == ["the end", "undisturbed"]


def test_ctrl_c_outweighs_an_error_of_the_import() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught, held_interrupts():
            signal.raise_signal(signal.SIGINT)
            raise ImportError("broken")
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(caught.value.__context__, ImportError)


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        pictures.write_new(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert pictures.save_free(path, b"new") == tmp_path / "a-2.png"
    assert pictures.save_free(path, b"newer") == tmp_path / "a-3.png"
    assert (tmp_path / "a-2.png").read_bytes() == b"new"


def test_writers_side_by_side_never_share_a_name(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8))
    written: list[Path] = []

    def write() -> None:
        for _ in range(20):
            written.append(pictures.save_numbered(picture, tmp_path, 7, "text"))

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(set(written)) == 80
    assert set(written) == set(tmp_path.iterdir())
