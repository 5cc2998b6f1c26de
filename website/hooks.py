"""What mkdocs does besides: pages made of the notebooks, and links into the repository that must be there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from website.notebook_pages import pages

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"

# Pages are read in the repository too, where a link may lead out of docs. The site has no such file.
_OUTWARD = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([^)#\s]+)(?:#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each notebook, with the pictures it shows."""
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        for name, content in pages(path).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """A link out of docs becomes its text, and an error where the repository has no such file."""
    return "".join(_inward(part, page.file.src_uri) for part in _parted(markdown))


def _inward(part: str, page: str) -> str:
    if part.startswith("```"):
        return part

    def told(found: re.Match[str]) -> str:
        if not (ROOT / found[2]).exists():
            raise PluginError(f"{page} links to {found[2]}, which is not in the repository")
        return found[1]

    return _OUTWARD.sub(told, part)


def _parted(markdown: str) -> list[str]:
    """Fenced blocks and what is between them."""
    return re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
