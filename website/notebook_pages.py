"""A notebook as a page: its words, its code, and what it shows, as it is kept in the file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any


def pages(path: Path) -> dict[str, str | bytes]:
    """The files of a notebook's page by their name: STEM.md and STEM-N.png, N counting its pictures from 1."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    made: dict[str, str | bytes] = {}
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", ()):
            parts.append(_shown(output, path.stem, made))
    return {f"{path.stem}.md": "\n\n".join(parts) + "\n", **made}


def _shown(output: dict[str, Any], stem: str, made: dict[str, str | bytes]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        name = f"{stem}-{len(made) + 1}.png"
        made[name] = base64.b64decode("".join(data["image/png"]))
        return f"![what the cell shows]({name})"
    text = "".join(output.get("text") or data.get("text/plain", ""))
    return f"```text\n{text.rstrip()}\n```"
