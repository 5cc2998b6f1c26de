"""Files that somebody named: text without an end, silent pipes, folders and absurd sizes are told in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib_ebca.reading import json_in, refuse_no_file, text_in


def test_text_comes_without_a_mark_and_with_one_kind_of_line_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffa cat\r\na dog\ra bird\n".encode())
    assert text_in(path, 100) == "a cat\na dog\na bird\n"


def test_as_large_as_it_may_be_and_no_larger(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 1_000_000)
    assert len(text_in(path, 1_000_000)) == 1_000_000
    with pytest.raises(OSError, match=r"it is larger than 0\.5 MB"):
        text_in(path, 500_000)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a device of Linux and macOS")
def test_what_never_ends_is_too_large_and_no_picture() -> None:
    with pytest.raises(OSError, match="it is larger than 1 MB"):
        text_in(Path("/dev/zero"), 1_000_000)
    with pytest.raises(OSError, match="a pipe or a device"):
        refuse_no_file(Path("/dev/zero"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_named_pipe_is_not_waited_for_and_one_of_the_shell_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (lambda path: text_in(path, 100), refuse_no_file):
        with pytest.raises(OSError, match=r"pipe.*give a file"):
            read(tmp_path / "pipe")
    reading, writing = os.pipe()
    try:
        os.write(writing, b"a cat\n")
        os.close(writing)
        assert text_in(Path(f"/dev/fd/{reading}"), 100) == "a cat\n"
    finally:
        os.close(reading)


def test_folders_and_what_is_not_there(tmp_path: Path) -> None:
    refuse_no_file(Path(__file__))
    with pytest.raises(IsADirectoryError):
        refuse_no_file(tmp_path)
    with pytest.raises(IsADirectoryError):
        text_in(tmp_path, 100)
    with pytest.raises(FileNotFoundError):
        text_in(tmp_path / "nowhere", 100)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "\ufffe", '{"a": ' * 50_000])
def test_json_that_is_none_or_too_deep(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError):
        json_in(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('\ufeff{"a": [1]}', encoding="utf-8")
    assert json_in(tmp_path / "a.json") == {"a": [1]}
