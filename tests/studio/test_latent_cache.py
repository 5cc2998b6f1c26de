"""The cache of inversions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lib_ebca.studio.errors import UserError
from lib_ebca.studio.latent_cache import LatentCache, default_folder, key_of


def test_what_is_put_in_comes_out(tmp_path: Path) -> None:
    cache, latents = LatentCache(tmp_path / "a" / "b"), torch.randn(1, 4, 8, 8)
    assert cache.get("k") is None
    cache.put("k", latents)
    found = cache.get("k")
    assert found is not None and torch.equal(found, latents)
    assert [path.name for path in cache.folder.iterdir()] == ["k.safetensors"]


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    latents = torch.zeros(1, 4, 64, 64)
    cache = LatentCache(tmp_path, limit=2.5 * latents.nbytes / 2**20)
    for age, key in enumerate("abc"):
        cache.put(key, latents)
        os.utime(tmp_path / f"{key}.safetensors", (1000 + age, 1000 + age))
        if key == "b":
            assert cache.get("a") is not None  # used now, and so younger than b
    assert cache.get("b") is None
    assert cache.get("a") is not None and cache.get("c") is not None


def test_what_a_wrong_clock_dated_ahead_goes_first(tmp_path: Path) -> None:
    latents = torch.zeros(1, 4, 64, 64)
    cache = LatentCache(tmp_path, limit=2.5 * latents.nbytes / 2**20)
    for key in "ab":
        cache.put(key, latents)
        os.utime(tmp_path / f"{key}.safetensors", (2**33, 2**33))
    cache.put("c", latents)
    assert cache.get("c") is not None
    assert (cache.get("a") is None) != (cache.get("b") is None)


def test_a_limit_of_nothing_keeps_nothing(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path, limit=0)
    cache.put("k", torch.zeros(4))
    assert list(tmp_path.iterdir()) == []


def test_a_spoilt_file_is_as_none(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path)
    cache.put("k", torch.zeros(4))
    (tmp_path / "k.safetensors").write_bytes(b"spoilt")
    assert cache.get("k") is None


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="add --no-cache"):
        LatentCache(tmp_path / "file").put("k", torch.zeros(4))


def test_keys_tell_facts_apart() -> None:
    facts = {"caption": "a cat", "steps": 50}
    assert key_of(facts) == key_of({"steps": 50, "caption": "a cat"})
    assert len({key_of({**facts, **other}) for other in ({}, {"caption": "a dog"}, {"steps": 49}, {"seed": None})}) == 4


def test_the_folder_is_the_platform_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder().parts[-2:] == ("ebca", "inversions")
