"""The notebooks in `examples`, run from the first cell to the last.

    python -m tests.notebooks             # runs them all and keeps what they show in them
    python -m tests.notebooks 2-composing-edits

What is kept is what a reader sees: pictures, small, and printed lines. Counters, times of execution and the machine's
own facts are not.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
NOTEBOOKS = tuple(sorted(EXAMPLES.glob("*.ipynb")))
_SECONDS = 600  # of one cell, on a busy machine
_COLOURS = 96
_SHOWN = ("image/png", "text/plain")


def read(path: Path) -> Any:
    """The notebook in a file."""
    return nbformat.read(path, as_version=4)


def executed(path: Path) -> Any:
    """The notebook, run afresh in a kernel of its own from the folder it lies in. Raises CellExecutionError."""
    notebook = read(path)
    for cell in code(notebook):
        cell.outputs = []
    # A notebook finds an installed project; here that is the checkout.
    setting = f"import sys\nsys.path.insert(0, {str(ROOT)!r})"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(setting))
    client = NotebookClient(
        notebook, timeout=_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute()
    del notebook.cells[0]
    return notebook


def code(notebook: Any) -> list[Any]:
    """The cells that are run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(notebook: Any) -> list[list[str]]:
    """What each cell that is run shows, as kinds: "picture" and "text"."""
    return [[kind for output in cell.outputs for kind in _kinds(output)] for cell in code(notebook)]


def kept(notebook: Any) -> str:
    """The notebook's file, with what it shows and nothing else."""
    for cell in code(notebook):
        cell.execution_count = None
        cell.metadata = {}
        cell.outputs = [_slim(output) for output in cell.outputs if _kinds(output)]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return json.dumps(_split(notebook), indent=1, ensure_ascii=False) + "\n"


def _kinds(output: Any) -> list[str]:
    if output.output_type == "stream":
        return ["text"] if output.name == "stdout" else []
    data = output.get("data", {})
    return ["picture"] if "image/png" in data else ["text"] if "text/plain" in data else []


def _slim(output: Any) -> Any:
    if output.output_type == "stream":
        return output
    data = {kind: output.data[kind] for kind in _SHOWN if kind in output.data}
    if "image/png" in data:
        data = {"image/png": _small(data["image/png"])}
    return nbformat.v4.new_output("display_data", data)


def _small(png: str) -> str:
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    written = io.BytesIO()
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(written, format="png", optimize=True)
    return base64.b64encode(written.getvalue()).decode("ascii")


def _split(notebook: Any) -> Any:
    """Texts as lists of lines, as notebooks are written to files, so that a change of one line is one in a diff."""
    data = json.loads(nbformat.writes(notebook, version=4))
    return dict(sorted(data.items()))


def main(names: Sequence[str]) -> None:
    """Runs the notebooks of these names, or all, and keeps what they show."""
    for path in NOTEBOOKS:
        if not names or path.stem in names:
            path.write_text(kept(executed(path)), encoding="utf-8")
            print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
