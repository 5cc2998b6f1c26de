"""Inverted latents on disk: the next edit of the same photograph costs only its sampling."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib_ebca.studio.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

LIMIT = 512  # megabytes
_DAY = 86400  # seconds
_MEGABYTE = 2**20
_LATENTS = "latents"


def default_folder() -> Path:
    """Where the platform keeps what can be made again."""
    from platformdirs import user_cache_path

    return user_cache_path("ebca") / "inversions"


def key_of(facts: Mapping[str, object]) -> str:
    """The name of what was made from `facts`, which must tell apart everything that changes the latents."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class LatentCache:
    """Latents in files named by their keys. The longest unused go first where they pass `limit` megabytes."""

    folder: Path
    limit: float = LIMIT

    def get(self, key: str) -> Tensor | None:
        """What was put in under `key`, or None if there is nothing, or nothing readable."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._path(key)
        try:
            latents = load_file(path)[_LATENTS]
            path.touch()
        except (OSError, SafetensorError, KeyError):
            return None
        return latents

    def put(self, key: str, latents: Tensor) -> None:
        """Keep `latents`. Raises UserError where the disk does not take them."""
        from safetensors.torch import save

        part = self.folder / f".{secrets.token_hex(8)}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(save({_LATENTS: latents.cpu().contiguous()}))
            try:
                part.replace(self._path(key))
            except PermissionError:
                # Windows replaces no file that somebody reads; what stands there was made from the same facts.
                if not self._path(key).is_file():
                    raise
        except OSError as error:
            raise UserError(f"cannot keep the inversion in {self.folder}: {error.strerror}; add --no-cache") from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        self._trim()

    def _trim(self) -> None:
        # Another process may take a file away between two looks at it.
        with contextlib.suppress(OSError):
            files = sorted(self.folder.glob("*.safetensors"), key=_last_used, reverse=True)
            total = 0
            for path in files:
                total += path.stat().st_size
                if total > self.limit * _MEGABYTE:
                    path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"


def _last_used(path: Path) -> float:
    """In seconds. What a clock that was wrong dated ahead is the oldest, or it would stay and all that is new go."""
    when = path.stat().st_mtime
    return when if when < time.time() + _DAY else 0.0
