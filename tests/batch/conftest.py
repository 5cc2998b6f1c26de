"""Files of jobs for the tiny model, and runs over them in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.batch.items import Asked
from cli.batch.session import Options, asked_in, carried_out
from tests.cli.conftest import ebca, tiny_model

__all__ = ["ebca", "tiny_model"]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, tiny_model: Path) -> Write:
    """Writes jobs, with the tiny model and two steps as defaults, to a file."""

    def to(*jobs: dict[str, Any], name: str = "jobs.yaml", **defaults: Any) -> Path:
        file = tmp_path / name
        given = {"model": str(tiny_model), "steps": 2, **defaults}
        file.write_text(yaml.safe_dump({"defaults": given, "jobs": list(jobs)}, sort_keys=False), encoding="utf-8")
        return file

    return to


def options(out: Path | str, **more: Any) -> Options:
    """Quiet ones for a folder."""
    return Options(**{"out": str(out), "quiet": True, "batch_size": 3, **more})


def asked(file: Path, **more: Any) -> Asked:
    """What the file asks for, with names."""
    return asked_in(file, options("unused", **more))


def carry_out(file: Path, out: Path | str, **more: Any) -> Any:
    """A run over the file."""
    chosen = options(out, **more)
    return carried_out(asked_in(file, chosen), chosen)
