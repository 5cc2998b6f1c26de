"""What a wheel holds: everything below `lib_ebca`, so that no generic name of ours stands in somebody's site-packages.

In a checkout the rooms `cli`, `world`, `training`, `benchmarks` and `models` stand beside `lib_ebca`, as the WebUI and
the README have them. In a wheel they move into it, as `lib_ebca.cli` and so on. Inside a room imports are relative and
need no change; from one room to another they name the room, `from world.statistics import wilson`, and get its new name
here.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "lib_ebca"
ROOMS = ("cli", "world", "training", "benchmarks")
DATA = ("models",)
_NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.py[cod]", "results")
_FROM_A_ROOM = re.compile(rf"^(\s*from )(?=(?:{'|'.join(ROOMS)})[. ])", re.MULTILINE)


def renamed(source: str) -> str:
    """A Python source whose imports from other rooms find them inside the package."""
    return _FROM_A_ROOM.sub(rf"\1{PACKAGE}.", source)


class CustomBuildHook(BuildHookInterface[Any]):
    """Moves the rooms into the package. An editable install is a checkout, and stays one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects the files."""
        if self.target_name != "wheel" or version == "editable":
            return
        root = Path(self.root)
        self._moved = Path(tempfile.mkdtemp())
        for room in ROOMS:
            shutil.copytree(root / room, self._moved / room, ignore=_NOT_SHIPPED)
            for path in (self._moved / room).rglob("*.py"):
                path.write_text(renamed(path.read_text(encoding="utf-8")), encoding="utf-8")
            build_data["force_include"][str(self._moved / room)] = f"{PACKAGE}/{room}"
        for folder in DATA:
            build_data["force_include"][str(root / folder)] = f"{PACKAGE}/{folder}"
        scripts = self.metadata.core.scripts
        scripts.update({name: f"{PACKAGE}.{target}" for name, target in scripts.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called by hatchling when the wheel is written."""
        moved = getattr(self, "_moved", None)
        if moved is not None:
            shutil.rmtree(moved)
