"""Files of pictures: numbered past whatever lies there, whole or not at all, and never a program."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lib_ebca.studio import photographs, pictures
from lib_ebca.studio.errors import UserError
from tests.modes import modes_hold

RED = Image.new("RGB", (8, 8), "red")


@pytest.mark.parametrize(
    "name",
    [
        "9" * 200 + "-1.png",
        "\u0660\u0660\u0660\u0660\u0667-1.png",
        "00007-.png",
        "00007-sheet.png",
        "\u00b2" * 5 + "-1.png",
        "00007-1.txt",
    ],
)
def test_names_that_only_look_like_numbers_do_not_count_on(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"theirs")
    expected = 8 if name == "00007-1.txt" else 1
    assert pictures.save_numbered(RED, tmp_path, 5, "a cat").name == f"{expected:05d}-5.png"
    assert (tmp_path / name).read_bytes() == b"theirs"


def test_a_folder_that_went_away_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the folder"):
        pictures.save_numbered(RED, tmp_path / "gone", 5, "a cat")


def test_a_folder_that_is_closed_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with modes_hold(), pytest.raises(UserError, match=r"cannot write .*a.png: Permission denied"):
        pictures.write_new(tmp_path / "closed" / "a.png", b"a")


def test_writing_over_leaves_what_is_beside_and_half_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_bytes(b"old")
    (tmp_path / "v.json.part").write_bytes(b"theirs")
    pictures.write_over(tmp_path / "v.json", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"v.json": b"new", "v.json.part": b"theirs"}
    for nowhere in (tmp_path, tmp_path / "gone" / "v.json", Path()):
        with pytest.raises(OSError):
            pictures.write_over(nowhere, b"new")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_drawing_that_another_program_would_run_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nquit\n")
    with pytest.raises(UserError, match=r"EPS.*no picture of pixels"):
        pictures.open_picture(tmp_path / "a.png")


def test_a_broken_header_says_nothing_of_the_way_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RED.save(tmp_path / "a.jpg")

    def broken(image: Image.Image) -> Image.Image:
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", broken)
    assert photographs.read(tmp_path / "a.jpg").image.size == (8, 8)
