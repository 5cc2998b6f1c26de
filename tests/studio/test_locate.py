from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from lib_ebca.studio.locate import file_hash, locate, model_hash


def test_the_hash_of_a_file_is_the_start_of_its_digest(tmp_path: Path) -> None:
    weights = tmp_path / "a.safetensors"
    weights.write_bytes(b"weights")
    wanted = hashlib.sha256(b"weights").hexdigest()
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
