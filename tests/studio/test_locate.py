from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.locate import file_hash, locate, model_hash, refuse_pickle


def test_the_hash_of_a_file_is_the_start_of_its_digest(tmp_path: Path) -> None:
    weights = tmp_path / "a.safetensors"
    content = (2).to_bytes(8, "little") + b"{}"
    weights.write_bytes(content)
    wanted = hashlib.sha256(content).hexdigest()
    assert file_hash(weights) == wanted[:10]
    assert model_hash(locate(str(weights))) == wanted[:10]


def test_a_link_of_the_hub_is_not_read(tmp_path: Path) -> None:
    stored = tmp_path / ("0123456789abcdef" * 4)
    stored.write_bytes(b"anything")
    (tmp_path / "model.safetensors").symlink_to(stored)
    assert file_hash(tmp_path / "model.safetensors") == "0123456789"


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_the_hash_of_a_folder_changes_with_every_part_that_decides_a_picture(
    tiny_model: Path, tmp_path: Path, part: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_model, copy)
    before = model_hash(locate(str(copy)))
    assert before == model_hash(locate(str(tiny_model)))
    (weights,) = (copy / part).glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert model_hash(locate(str(copy))) != before


def test_a_file_is_opened_by_its_name_and_its_content(tmp_path: Path) -> None:
    safe, pickled = (2).to_bytes(8, "little") + b"{}", b"\x80\x04N."
    for name, content, says in [
        ("a.safetensors", pickled, "no safetensors file"),
        ("a.safetensors", b"", "no safetensors file"),
        ("a.safetensors", (3).to_bytes(8, "little") + b"{}", "no safetensors file"),
        *((name, pickled, "a pickle") for name in ("a.PT", "a.BIN", "a.pkl", "a", "a.safetensors.ckpt", "a.pt")),
        *((name, safe, "rename it") for name in ("a.PT", "a.SAFETENSORS", "a")),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=says):
            refuse_pickle(path, False)
    path = tmp_path / "b.safetensors"
    path.write_bytes(safe)
    refuse_pickle(path, False)


@pytest.mark.parametrize("given", ["~nosuchuser/x", "x" * 4000, "a\0b", "a/" * 3000])
def test_what_can_be_no_path_is_said_in_a_sentence(given: str) -> None:
    with pytest.raises(UserError):
        locate(given)
